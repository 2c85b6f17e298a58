import { TAGS } from '../openapi/document.ts'
import { ALICE, CURL, TOKEN } from '../openapi/examples.ts'
import { content, type Operation, type Response } from '../openapi/operation.ts'
import { RESPONSES } from '../openapi/responses.ts'
import { askPage, confirmedPage, PAGE_HEADERS, refusalPage, unknownLinkPage } from '../verification-page.ts'

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

export const askForConfirmation: Operation = {
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

export const confirm: Operation = {
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
    413: page('The body has more than 1 KiB.', refusalPage('Request body is too large'), RESPONSES.PayloadTooLarge),
    415: page(
      'The body is not a form, or is compressed.',
      refusalPage('send the body as application/x-www-form-urlencoded, uncompressed')
    )
  }
}
