import { RETRY_AFTER } from '../src/http/error-handler.ts'
import { ERRORS, type ErrorCode } from '../src/runtime/error-catalogue.ts'

/** What nginx itself may answer, by nginx's status: 494 and 497 are its own, and become those of HTTP. */
const PAGES: [statuses: string, code: ErrorCode][] = [
  ['400', 'bad_request'],
  ['404', 'not_found'],
  ['405', 'method_not_allowed'],
  ['413', 'payload_too_large'],
  ['414', 'uri_too_long'],
  ['421', 'misdirected_request'],
  ['429', 'too_many_requests'],
  ['494', 'request_header_fields_too_large'],
  ['497', 'https_required'],
  ['500', 'internal_error'],
  ['501', 'not_implemented'],
  ['502 503 504', 'service_unavailable'],
  ['505', 'bad_request']
]

/** To be retried after RETRY_AFTER seconds. */
const TEMPORARY: ErrorCode[] = ['too_many_requests', 'service_unavailable']

/** The file `nginx/relay/errors.conf`. */
export function nginxErrors(): string {
  const pages = PAGES.map(([statuses, code]) => {
    const { status } = ERRORS[code]
    const from = statuses === String(status) ? statuses : `${statuses} =${status}`
    return `error_page ${from.padEnd(16)} /errors/${code};`
  })
  const locations = [...new Set(PAGES.map(([, code]) => code))].map(location)
  return `# Made by \`npm run generate\` from src/runtime/error-catalogue.ts.
#
# What nginx refuses by itself, as the same JSON that the API answers with. The API's own errors pass untouched.
# Not named locations: those cannot answer a request whose address could not be read.

${pages.join('\n')}
error_page ${'495 ='.padEnd(16)} @presented; # in default.conf

# A body that cannot be read is noticed only when an error page discards it.
recursive_error_pages on;

${locations.join('\n')}
`
}

function location(code: ErrorCode) {
  const { status, message } = ERRORS[code]
  const headers = TEMPORARY.includes(code)
    ? `  add_header Retry-After ${RETRY_AFTER} always;
  add_header X-Request-Id $request_id always; # a header here drops the server's
`
    : ''
  return `location = /errors/${code} {
  internal;
  default_type application/json;
${headers}  return ${status} '${JSON.stringify({ error: message, code })}';
}`
}
