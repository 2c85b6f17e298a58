import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { audit } from '../audit.ts'
import { problem } from '../errors.ts'
import { refuse } from '../plugins/error-handler.ts'
import { askPage, confirmedPage, PAGE_HEADERS, refusalPage, unknownLinkPage } from '../verification-page.ts'
import { hashToken } from '../verification-token.ts'
import { askForConfirmation, confirm } from './email-verification.openapi.ts'

const FORM = 'application/x-www-form-urlencoded'
/** Bytes of a form. */
const BODY_LIMIT = 1024

const link = Type.Object({ token: Type.String({ maxLength: 100, description: 'the one in the mail' }) })

/**
 * `/email/verify?token=`, the link in a mail, for browsers. `GET` shows what is to be confirmed and changes nothing, for mail
 * programs open links by themselves; `POST`, the page's button, confirms it. Errors are pages too.
 */
const emailVerification: FastifyPluginAsyncTypebox = async (fastify) => {
  const { registrations } = fastify.repository

  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: BODY_LIMIT }, async (_: unknown, body: string) =>
    Object.fromEntries(new URLSearchParams(body))
  )
  fastify.addHook('onRequest', async (_, reply) => {
    reply.headers(PAGE_HEADERS)
  })
  fastify.setErrorHandler((error, request, reply) => {
    const { status, message } = refuse(error as Parameters<typeof refuse>[0], request, reply)
    return reply.headers(PAGE_HEADERS).send(status === 404 ? unknownLinkPage() : refusalPage(message))
  })

  const ask = { schema: { querystring: link }, config: { operation: askForConfirmation } }
  fastify.get('/email/verify', ask, async ({ query: { token }, deadline }) => {
    const registration = await registrations.find(hashToken(token), deadline)
    if (!registration) throw unknownLink()
    return askPage({ ...registration, token })
  })

  const press = { schema: { body: link, consumes: [FORM] }, config: { operation: confirm } }
  fastify.post('/email/verify', press, async (request) => {
    const { body, deadline, log } = request
    const result = await registrations.confirm(hashToken(body.token), deadline)
    if (!result) throw unknownLink()
    if (result === 'certificate_taken') {
      throw problem(409, result, 'this certificate is registered with another e-mail address')
    }
    if (result === 'email_taken') throw problem(409, result, 'whoever had this e-mail address was revoked')
    const { id: clientId, email, fingerprint, displaced } = result
    request.clientId = clientId
    for (const other of displaced) audit(log, { event: 'displaced', clientId: other, by: clientId })
    audit(log, { event: 'verify', clientId, fingerprint })
    return confirmedPage(email)
  })
}

export default emailVerification

function unknownLink() {
  return problem(404, 'unknown_link', 'this link does not work any more')
}
