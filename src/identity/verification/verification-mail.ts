import { html } from './html-template.ts'

/** Below the tracker's public address. */
export const VERIFICATION_PATH = '/api/relay/email/verify'

/** The mail by which the holder of an address confirms a registration: the same as text and as HTML. */
export function verificationMail({
  email,
  fingerprint,
  token,
  publicUrl
}: {
  email: string
  fingerprint: string
  token: string
  publicUrl: string
}) {
  const { host } = new URL(publicUrl)
  const link = `${publicUrl}${VERIFICATION_PATH}?token=${token}`
  const subject = `Confirm your e-mail address for ${host}`
  const what = `Somebody wants peers to find them at ${host} as ${email}.`
  const whose = 'The fingerprint of their certificate is:'
  const how = 'If that was you, confirm it within 24 hours:'
  const then = 'Any other certificate with this address then stops working.'
  const otherwise = 'If it was not you, do nothing: nothing happens without your confirmation.'
  return {
    to: { name: '', address: email },
    subject,
    // RFC 3834: asks for no out-of-office reply.
    headers: { 'Auto-Submitted': 'auto-generated' },
    text: [what, `${whose}\n${fingerprint}`, `${how}\n${link}`, then, otherwise, ''].join('\n\n'),
    html: html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${subject}</title>
<body style="font: 16px/1.5 system-ui, sans-serif">
<p>${what}</p>
<p>${whose}<br><code style="overflow-wrap: anywhere">${fingerprint}</code></p>
<p>${how}<br><a href="${link}">${link}</a></p>
<p>${then}</p>
<p>${otherwise}</p>
</body>
</html>
`.toString()
  }
}
