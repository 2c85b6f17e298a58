import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { refuse } from '../../http/error-handler.ts'
import { TAGS } from '../../http/openapi/document.ts'
import { ALICE, CURL, TOKEN } from '../../http/openapi/examples.ts'
import { content, type Operation, type Response } from '../../http/openapi/operation.ts'
import { RESPONSES } from '../../http/openapi/responses.ts'
import { audit } from '../../observability/audit.ts'
import { ApiError } from '../../runtime/error-catalogue.ts'
import { askPage, confirmedPage, PAGE_HEADERS, refusalPage, unknownLinkPage } from './verification-page.ts'
import { hashToken } from './verification-token.ts'

const FORM = 'application/x-www-form-urlencoded'
/** Bytes of a form. */
const BODY_LIMIT = 1024

const link = Type.Object({ token: Type.String({ maxLength: 100, description: 'the one in the mail' }) })

const { 'content-type': _, ...others } = PAGE_HEADERS
const headers = Object.fromEntries(
  Object.keys(others).map((name) => [name, { description: 'of a page', schema: { type: 'string' } }])
)

/** @param edge what the edge answers with that status by itself: JSON, as everywhere */
function page(description: string, html: string, edge?: Response): Response {
  return {
    description,
    headers: { ...headers, ...edge?.headers },
    content: { ...content('text/html', { page: { value: html } }, { type: 'string' }), ...edge?.content }
  }
}

const refused = {
  400: page('There is no token.', refusalPage('token is missing'), RESPONSES.Unreadable),
  404: page('The link was used, is older than 24 hours, or a newer mail has another one.', unknownLinkPage()),
  500: page('A fault of ours.', refusalPage('something went wrong on our side')),
  503: page(
    'The database is away, or more is asked for than can be served.',
    refusalPage('the service is unavailable, try again soon'),
    RESPONSES.ServiceUnavailable
  )
}

const ASK_FOR_CONFIRMATION: Operation = {
  operationId: 'askForConfirmation',
  tags: [TAGS.email],
  summary: 'The link in a mail',
  description: `A page that shows what is to be confirmed, with a button. It changes nothing, for mail programs open links by themselves. Errors of the API
are pages too; those of the edge are JSON. Only where the operator wants e-mail addresses confirmed.`,
  command: `${CURL} "$relay/email/verify?token=$token"`,
  certificate: 'none',
  query: { token: { mail: { value: TOKEN } } },
  responses: {
    200: page('Asks whether to confirm.', askPage({ ...ALICE, token: TOKEN })),
    ...refused
  }
}

const CONFIRM: Operation = {
  operationId: 'confirm',
  tags: [TAGS.email],
  summary: "The page's button",
  description:
    'Confirms the e-mail address. Whoever does that has it: a certificate that had the address before ends, and what else was pending for it is gone.',
  command: `${CURL} --data "token=$token" $relay/email/verify`,
  certificate: 'none',
  body: { mail: { value: { token: TOKEN } } },
  responses: {
    200: page('It is confirmed.', confirmedPage(ALICE.email)),
    ...refused,
    409: page(
      'Somebody has the certificate.',
      refusalPage('this certificate is registered with another e-mail address')
    ),
    413: page('The body has more than 1 KiB.', refusalPage('the request body is too large'), RESPONSES.PayloadTooLarge),
    415: page(
      'The body is not a form, or is compressed.',
      refusalPage('send the body as application/x-www-form-urlencoded, uncompressed')
    )
  }
}

/**
 * `/email/verify?token=`, the link in a mail, for browsers. `GET` shows what is to be confirmed and changes nothing, for mail
 * programs open links by themselves; `POST`, the page's button, confirms it. Errors are pages too.
 */
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
    const { status, message } = refuse(error as Parameters<typeof refuse>[0], request, reply)
    return reply.headers(PAGE_HEADERS).send(status === 404 ? unknownLinkPage() : refusalPage(message))
  })

  const ask = { schema: { querystring: link }, config: { operation: ASK_FOR_CONFIRMATION } }
  fastify.get('/email/verify', ask, async ({ query: { token }, deadline }) => {
    const registration = await pendingRegistrations.find(hashToken(token), deadline)
    if (!registration) throw new ApiError('unknown_link')
    return askPage({ ...registration, token })
  })

  const press = { schema: { body: link, consumes: [FORM] }, config: { operation: CONFIRM } }
  fastify.post('/email/verify', press, async (request) => {
    const { body, deadline, log } = request
    const result = await pendingRegistrations.confirm(hashToken(body.token), deadline)
    if (!result) throw new ApiError('unknown_link')
    if (result === 'certificate_taken') throw new ApiError(result)
    if (result === 'email_taken') throw new ApiError(result, { message: 'whoever had this e-mail address was revoked' })
    const { id: clientId, email, fingerprint, displaced } = result
    request.clientId = clientId
    for (const other of displaced) audit(log, { event: 'displaced', clientId: other, by: clientId })
    audit(log, { event: 'verify', clientId, fingerprint })
    return confirmedPage(email)
  })
}

export default emailVerification
