import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { prepareErrorReply } from '../../http/error-handler.ts'
import { ALICE, CURL, TOKEN } from '../../http/openapi-examples.ts'
import { answer, examples } from '../../http/shared-schemas.ts'
import { audit } from '../../observability/audit.ts'
import { ApiError, ERRORS, type ErrorCode } from '../../runtime/error-catalogue.ts'
import { askPage, confirmedPage, errorPage, PAGE_HEADERS } from './verification-page.ts'
import { hashToken } from './verification-token.ts'

const FORM = 'application/x-www-form-urlencoded'
/** Bytes of a form. */
const BODY_LIMIT = 1024

const Token = Type.String({ maxLength: 100, description: 'the one in the mail' })

const { 'content-type': _, ...others } = PAGE_HEADERS
const headers = Object.fromEntries(
  Object.keys(others).map((name) => [name, { description: 'of a page', type: 'string' }])
)

function page(description: string, html: string) {
  return answer(description, Type.String(), { page: html }, { type: 'text/html', headers })
}

function refusedWith(...codes: ErrorCode[]) {
  const errors = codes.map((code) => ERRORS[code])
  return Object.fromEntries(errors.map((error) => [error.status, page(`A page: ${error.message}`, errorPage(error))]))
}

const REFUSED = ['invalid_token', 'unknown_link', 'internal_error', 'service_unavailable'] as const
const shared = { tags: ['Verified e-mail'], certificate: 'none', produces: ['text/html'] } satisfies FastifySchema

const askSchema = {
  ...shared,
  operationId: 'askForConfirmation',
  summary: 'The link in a mail',
  description: `A page that shows what is to be confirmed, with a button. It changes nothing, because mail programs open links by themselves. The
API's errors are pages too; the edge's are JSON. Exists only if the operator wants e-mail addresses confirmed.`,
  command: `${CURL} "$relay/email/verify?token=$token"`,
  querystring: Type.Object({ token: { ...Token, ...examples({ mail: TOKEN }) } }),
  response: { 200: page('Asks whether to confirm.', askPage({ ...ALICE, token: TOKEN })), ...refusedWith(...REFUSED) }
} satisfies FastifySchema

const confirmSchema = {
  ...shared,
  operationId: 'confirm',
  summary: "The page's button",
  description: `Confirms the e-mail address for this certificate. A certificate that had the address before stops working, and so do other pending
registrations of the address.`,
  command: `${CURL} --data "token=$token" $relay/email/verify`,
  consumes: [FORM],
  body: Type.Object({ token: Token }, examples({ mail: { token: TOKEN } })),
  response: {
    200: page('It is confirmed.', confirmedPage(ALICE.email)),
    ...refusedWith(...REFUSED, 'certificate_taken', 'payload_too_large'),
    415: page(
      'A page: the body is not a form, or is compressed',
      errorPage({ status: 415, message: `send the body as ${FORM}, uncompressed` })
    )
  }
} satisfies FastifySchema

/** `/email/verify?token=`, the link in a mail: `GET` shows what is to be confirmed, `POST` confirms it. */
const emailVerification: FastifyPluginAsyncTypebox = async (fastify) => {
  const { pendingRegistrations } = fastify.repository

  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: BODY_LIMIT }, async (_: unknown, body: string) =>
    Object.fromEntries(new URLSearchParams(body))
  )
  fastify.addHook('onRequest', async (_, reply) => {
    reply.headers(PAGE_HEADERS)
  })
  fastify.setErrorHandler((error, request, reply) => {
    const refusal = prepareErrorReply(error as Parameters<typeof prepareErrorReply>[0], request, reply)
    return reply.headers(PAGE_HEADERS).send(errorPage(refusal))
  })

  fastify.get('/email/verify', { schema: askSchema }, async ({ query: { token }, deadline }) => {
    const registration = await pendingRegistrations.find(hashToken(token), deadline)
    if (!registration) throw new ApiError('unknown_link')
    return askPage({ ...registration, token })
  })

  fastify.post('/email/verify', { schema: confirmSchema }, async (request) => {
    const { body, deadline, log } = request
    const result = await pendingRegistrations.confirm(hashToken(body.token), deadline)
    if (!result) throw new ApiError('unknown_link')
    if (result === 'certificate_taken') throw new ApiError(result)
    if (result === 'email_taken')
      throw new ApiError(result, { message: 'the certificate with this e-mail address was revoked' })
    const { id: clientId, email, fingerprint, displaced } = result
    request.clientId = clientId
    for (const other of displaced) audit(log, { event: 'displaced', clientId: other, by: clientId })
    audit(log, { event: 'verify', clientId, fingerprint })
    return confirmedPage(email)
  })
}

export default emailVerification
