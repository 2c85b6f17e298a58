import { createHash } from 'node:crypto'
import { Html, html } from './html-template.ts'

/** No scripts, no images, nothing from elsewhere; light or dark, as the reader's system prefers. */
const STYLE = `
:root { color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif }
body { margin: 12vh auto; max-width: 34rem; padding: 0 1.25rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
code { overflow-wrap: anywhere }
dt { opacity: 0.75; font-size: 0.9rem }
dd { margin: 0 0 0.75rem }
button { background: #0b57d0; border: 0; border-radius: 0.5rem; color: #fff; cursor: pointer; font: inherit; font-weight: 600; padding: 0.75rem 1.5rem }
button:hover { background: #0842a0 }
button:focus-visible { outline: 3px solid #7cacf8; outline-offset: 2px }
`

/** Browsers must not frame or store these pages, run scripts in them, or pass on their address. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'"
  ].join('; '),
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** Asks the holder of the address to confirm it. */
export function askPage({ email, fingerprint, token }: { email: string; fingerprint: string; token: string }) {
  return page(
    'Confirm your e-mail address',
    html`<p>From then on, peers find the holder of this certificate under your address. Any other certificate that had the address
stops working.</p>
<dl>
<dt>Address</dt><dd><strong>${email}</strong></dd>
<dt>Fingerprint of the certificate</dt><dd><code>${fingerprint}</code></dd>
</dl>
<form method="post" action="verify">
<input type="hidden" name="token" value="${token}">
<button>Confirm</button>
</form>
<p>If you did not ask for this, close this page: nothing happens.</p>`
  )
}

export function confirmedPage(email: string) {
  return page('Confirmed', html`<p><strong>${email}</strong> is yours. You can close this page.</p>`)
}

/** For an error: one with 404 is about the link. */
export function errorPage({ status, message }: { status: number; message: string }) {
  if (status !== 404)
    return page('That did not work', html`<p>${message.charAt(0).toUpperCase()}${message.slice(1)}.</p>`)
  return page(
    'This link no longer works',
    html`<p>It was already used, is older than 24 hours, or was replaced by the one in a newer mail. To get a new mail, register again.</p>`
  )
}

function page(title: string, content: Html) {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>${title} – Relay Tracker</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`.toString()
}
