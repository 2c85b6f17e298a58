import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { TAGS } from '../http/openapi/document.ts'
import { ALICE, CURL_AS_BOB, NEXT } from '../http/openapi/examples.ts'
import { content, errors, type Operation } from '../http/openapi/operation.ts'
import { MALFORMED, UNACCEPTABLE_CERTIFICATE, UNREADABLE, UNREADABLE_JSON } from '../http/openapi/responses.ts'
import { Fingerprint, Timestamp } from '../http/shared-schemas.ts'
import { audit } from '../observability/audit.ts'
import { ApiError, CallerError } from '../runtime/error-catalogue.ts'
import { type Certificate, judgeCertificate, Pem, parseCertificate } from './certificate.ts'

const validity = { fingerprint: Fingerprint, not_before: Timestamp, not_after: Timestamp }
const response = {
  200: Type.Object({ ...validity, pending: Type.Union([Type.Object(validity), Type.Null()]) })
}
const body = Type.Object({ certificate: Pem }, { additionalProperties: false })

const VALIDITY = { not_before: '2026-01-01T00:00:00.000Z', not_after: '2126-01-02T00:00:00.000Z' }
const IN_FORCE = { fingerprint: ALICE.fingerprint, ...VALIDITY }

/** Why a certificate cannot be the next one without proof. */
const NOT_EVERYWHERE =
  'not every server accepts this kind of certificate: register again and present it in the TLS handshake'

const GET_CERTIFICATE: Operation = {
  operationId: 'getCertificate',
  tags: [TAGS.certificate],
  summary: 'Which certificate is in force',
  description: 'And the one that is to follow it, or `null`.',
  command: `${CURL_AS_BOB} $relay/certificate`,
  certificate: 'registered',
  responses: {
    200: {
      description: 'The certificates.',
      content: content('application/json', { alone: { value: { ...IN_FORCE, pending: null } } })
    }
  }
}

const ROTATE_CERTIFICATE: Operation = {
  operationId: 'rotateCertificate',
  tags: [TAGS.certificate],
  summary: 'Announce the next certificate',
  description: `It is pending until the first request whose TLS handshake presents it: from then on it is in force, and the old one has ended.
Requests under way are still answered. Whoever looks the peer up gets the new fingerprint. Until then it reserves nothing: anyone may
register it, and if several peers announced it, the last one has it. Another \`POST\` replaces it.`,
  command: `${CURL_AS_BOB} --json @certs/bob-next.json $relay/certificate`,
  certificate: 'registered',
  body: { next: { value: { certificate: NEXT.certificate } } },
  responses: {
    200: {
      description: 'It is pending.',
      content: content('application/json', {
        pending: { value: { ...IN_FORCE, pending: { fingerprint: NEXT.fingerprint, ...VALIDITY } } }
      })
    },
    400: errors(
      'The body is not a certificate that may be registered.',
      [...UNACCEPTABLE_CERTIFICATE, 'invalid_request', ...UNREADABLE],
      { messages: { ...MALFORMED, ...UNREADABLE_JSON, invalid_request: 'unknown member: email' } }
    ),
    403: errors(
      'The e-mail address is not confirmed yet, or the edge may refuse this kind of certificate.',
      ['email_unverified', 'proof_required'],
      { messages: { proof_required: NOT_EVERYWHERE } }
    ),
    409: errors('Somebody has the certificate.', ['certificate_taken'], {
      messages: { certificate_taken: 'this certificate is registered already' }
    })
  }
}

const KEEP_CERTIFICATE: Operation = {
  operationId: 'keepCertificate',
  tags: [TAGS.certificate],
  summary: 'Withdraw the next certificate',
  description: 'None is to follow, whether one was pending or not.',
  command: `${CURL_AS_BOB} --request DELETE $relay/certificate`,
  certificate: 'registered',
  responses: { 204: { description: 'None is pending.' } }
}

/**
 * The caller's certificate, and its rotation. `POST /certificate` announces the next one: pending until the first request whose
 * TLS handshake presents it, which puts it in force and ends the old one; again replaces it. `DELETE` withdraws it. `GET` tells
 * of both.
 */
const rotation: FastifyPluginAsyncTypebox = async (fastify) => {
  const { rotations } = fastify.repository

  const show = { schema: { response }, config: { operation: GET_CERTIFICATE } }
  fastify.get('/certificate', show, async (request) => {
    const { id } = await request.caller().identify()
    return state(id, request.deadline)
  })

  const propose = { schema: { body, response }, config: { operation: ROTATE_CERTIFICATE } }
  fastify.post('/certificate', propose, async (request) => {
    const { id: clientId } = await request.caller().identify()
    const { body, fingerprint, deadline, log } = request
    const next = parseCertificate(body.certificate)
    checkPresentable(next, request)
    const refusal = await rotations.propose(clientId, next, deadline)
    if (refusal === undefined) {
      audit(log, { event: 'rotate', step: 'announced', clientId, fingerprint, next: next.fingerprint })
    }
    const answer = await state(clientId, deadline)
    if (refusal === 'certificate_taken') {
      throw new ApiError(refusal, { message: 'this certificate is registered already' })
    }
    if (refusal) throw new ApiError(refusal)
    return answer
  })

  const withdraw = { config: { operation: KEEP_CERTIFICATE } }
  fastify.delete('/certificate', withdraw, async (request, reply) => {
    const { id: clientId } = await request.caller().identify()
    const { fingerprint, deadline, log } = request
    const isWithdrawn = await rotations.withdraw(clientId, deadline)
    if (isWithdrawn) audit(log, { event: 'rotate', step: 'withdrawn', clientId, fingerprint })
    return reply.code(204).send()
  })

  /** Otherwise it could stay pending for ever. An edge that accepts the current one of such a kind accepts another. */
  function checkPresentable(next: Certificate, request: FastifyRequest) {
    if (!fastify.edgeMayRefuse(next)) return
    const current = judgeCertificate(request.presentedCertificate() as Buffer)
    if (fastify.edgeMayRefuse(current)) return
    throw new ApiError('proof_required', {
      message: NOT_EVERYWHERE
    })
  }

  async function state(clientId: string, deadline: AbortSignal) {
    const found = await rotations.find(clientId, deadline)
    if (!found) throw new CallerError('certificate_unknown', 'this certificate is not registered any more')
    return found
  }
}

export default rotation
