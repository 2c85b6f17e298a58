import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { checkServerCertificate } from './check-server-certificate.ts'
import { type Finding, note, ok, problem } from './doctor-finding.ts'

/** Milliseconds: for the handshake, and for each answer. */
const TIMEOUT = 5000
/** Bytes read of an answer. The tracker's errors have a few hundred. */
const MAX_ANSWER = 64 * 1024

const INTERNAL = ['/livez', '/readyz', '/metrics', '/openapi.json']

/** The API would hash this like a certificate. Nobody is registered with it. */
const FORGED = Buffer.from('not a certificate')
const BASE64 = FORGED.toString('base64')
const ESCAPED_PEM = encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${BASE64}\n-----END CERTIFICATE-----\n`)

/** A certificate as edges pass it on. */
const HEADERS: Record<string, string> = {
  'x-ssl-cert': ESCAPED_PEM,
  'x-ssl-client-cert': ESCAPED_PEM,
  'x-client-cert': BASE64,
  'client-cert': `:${BASE64}:`,
  'x-forwarded-tls-client-cert': encodeURIComponent(BASE64),
  'x-forwarded-client-cert': `Hash=0;Cert="${ESCAPED_PEM}"`,
  'x-amzn-mtls-clientcert': ESCAPED_PEM
}

interface Options {
  ca: string | undefined
  serverName: string | undefined
}

/** Checks whether peers reach the tracker at `url` over TLS, cannot pose as others, and reach nothing internal. */
export async function checkEdge(url: URL, { ca, serverName = url.hostname }: Options): Promise<Finding[]> {
  // RFC 6066 allows no addresses as server names.
  const servername = isIP(unbracketed(serverName)) ? '' : serverName
  const handshake = { ...(ca !== undefined && { ca }), servername, rejectUnauthorized: false }
  try {
    const findings = await checkTls(url, serverName, handshake)
    const ask = (path: string, headers: OutgoingHttpHeaders = {}) => request(new URL(path, url), headers, handshake)
    const { status, code } = await ask('/api/relay/broadcast/list')
    if (code !== 'certificate_required') {
      const remedy = 'check the address, and whether it passes /api/relay/ on to a running API'
      return [
        ...findings,
        problem('edge', `what answers there is not a tracker: status ${status} ${code}`.trim(), remedy)
      ]
    }
    return [
      ...findings,
      ok('edge', `a tracker answers at ${url.origin}`),
      await checkForged(ask),
      await checkInternal(ask)
    ]
  } catch (error) {
    const { message, code, cause } = error as Error & { code?: string; cause?: Error }
    const remedy = 'check whether it runs, and whether name, port and firewall let this machine reach it'
    return [problem('edge', `${url.origin}: ${[cause?.message, message, code].find(Boolean)}`, remedy)]
  }
}

type Ask = (path: string, headers?: OutgoingHttpHeaders) => Promise<{ status: number; code: string }>

async function checkTls(url: URL, name: string, handshake: object): Promise<Finding[]> {
  const socket = connect({
    ...handshake,
    host: unbracketed(url.hostname),
    port: Number(url.port || 443)
  })
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(TIMEOUT) })
    const certificate = socket.getPeerX509Certificate() as X509Certificate
    return [
      checkServerCertificate('edge certificate', certificate),
      checkName(certificate, unbracketed(name)),
      checkTrust(socket)
    ]
  } finally {
    socket.destroy()
  }
}

function checkName(certificate: X509Certificate, name: string): Finding {
  const isFor = isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name, { subject: 'never' })
  if (isFor) return ok('edge name', `its certificate is for ${name}`)
  return problem(
    'edge name',
    `its certificate is not for ${name}`,
    'get one that is (SERVER_NAME, TLS_DIR), or name the right one'
  )
}

function checkTrust({ authorized, authorizationError }: TLSSocket): Finding {
  // Expiry is a finding of its own.
  if (authorized || String(authorizationError) === 'CERT_HAS_EXPIRED')
    return ok('edge trust', 'an authority that this machine trusts vouches for its certificate')
  const message = `no authority that this machine trusts vouches for its certificate (${authorizationError})`
  return note(
    'edge trust',
    message,
    'get one from a public authority, or give its own (ca.crt) to peers, and to this check with --ca'
  )
}

async function checkForged(ask: Ask): Promise<Finding> {
  const passed: string[] = []
  for (const [name, value] of Object.entries(HEADERS)) {
    const { code } = await ask('/api/relay/broadcast/list', { [name]: value })
    if (code !== 'certificate_required') passed.push(name)
  }
  if (passed.length === 0) return ok('edge headers', 'a forged certificate is not passed on')
  const remedy = 'let the edge remove or overwrite it on every request: otherwise anybody can pose as anybody'
  return problem('edge headers', `the API believes what a caller sends as ${passed.join(', ')}`, remedy)
}

async function checkInternal(ask: Ask): Promise<Finding> {
  const reached: string[] = []
  for (const path of INTERNAL) {
    const { status } = await ask(path)
    if (status === 200) reached.push(path)
  }
  if (reached.length === 0) return ok('edge paths', 'nothing internal can be reached')
  return problem('edge paths', `it passes ${reached.join(', ')} on`, 'let it pass on nothing but /api/relay/')
}

/** @returns the error's `code`; empty if it was no tracker that answered */
async function request(url: URL, headers: OutgoingHttpHeaders, handshake: object) {
  const req = https.get(url, { ...handshake, agent: false, headers, signal: AbortSignal.timeout(TIMEOUT) })
  const [response] = (await once(req, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk
    if (text.length > MAX_ANSWER) break
  }
  return { status: response.statusCode as number, code: codeIn(text) }
}

function codeIn(text: string) {
  try {
    return String(JSON.parse(text).code ?? '')
  } catch {
    return ''
  }
}

/** An IPv6 address without the brackets of a URL. */
function unbracketed(host: string) {
  return host.replace(/^\[|\]$/g, '')
}
