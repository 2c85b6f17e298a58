import { CALLER_ERRORS, ERRORS } from '../src/runtime/error-catalogue.ts'
import { markdownTable } from './markdown-table.ts'

/** The page `docs/ERRORS.md`. */
export function errorsPage(): string {
  return `# Errors

<!-- Made by \`npm run generate\` from src/runtime/error-catalogue.ts. -->

Every error is \`{"error": "in words", "code": "for_programs"}\`, whether the API or nginx answers. Codes are stable; the words may change, and
often say more than here. 429 and 503 come with \`Retry-After\`, and so does \`peer_not_found\`; 405 comes with \`Allow\`, and 415 for a
compressed body with \`Accept-Encoding\`. [API.md](API.md) says which call answers which.

## The certificate of the TLS handshake

${table(CALLER_ERRORS)}

## Everything else

${table(ERRORS)}
`
}

function table(errors: Record<string, { status: number; message: string }>) {
  const rows = Object.entries(errors)
    .sort(([, a], [, b]) => a.status - b.status)
    .map(([code, { status, message }]) => [String(status), `\`${code}\``, message])
  return markdownTable(['status', '`code`', '`error`'], rows)
}
