import { sign, X509Certificate } from 'node:crypto'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { parseCertificate } from '../../src/identity/certificate.ts'
import type { Sql } from '../../src/postgres/postgres-driver.ts'
import type { client } from './api.ts'

export type Peer = Awaited<ReturnType<typeof createPeer>>

/** A peer with its own key and certificate, not registered yet. */
export async function createPeer(name = 'alice', options: Partial<Parameters<typeof createSelfSigned>[0]> = {}) {
  const pems = await createSelfSigned({ commonName: name, ...options })
  const { fingerprint } = parseCertificate(pems.certificate)
  return { email: `${name}@example.com`, fingerprint, ...pems }
}

/** What a peer signs so that those who know it recognise its next certificate. */
export function signRotation(peer: { privateKey: string; certificate: string }, next: { certificate: string }) {
  const type = String(new X509Certificate(peer.certificate).publicKey.asymmetricKeyType)
  const data = Buffer.concat([Buffer.from('relay-tracker rotation v1\n'), new X509Certificate(next.certificate).raw])
  return sign(type.startsWith('ed') ? null : 'sha256', data, peer.privateKey).toString('base64url')
}

/** A registered peer, with its client id. */
export async function registerPeer(relay: ReturnType<typeof client>, name?: string) {
  const peer = await createPeer(name)
  const { status, body } = await relay.register(peer)
  if (status !== 200) throw new Error(`${name} was not registered: ${JSON.stringify(body)}`)
  return { ...peer, clientId: body.client_id as string }
}

/** Registered peers whose certificates are not valid, and the code that each is refused with. */
export async function registerOutOfForce(relay: ReturnType<typeof client>, sql: Sql) {
  const changes = {
    certificate_expired: sql`not_before = now() - interval '2 days', not_after = now() - interval '1 s'`,
    certificate_not_yet_valid: sql`not_before = now() + interval '1 day'`,
    certificate_revoked: sql`revoked_at = now()`
  }
  const registering = Object.entries(changes).map(async ([code, change]) => {
    const peer = await registerPeer(relay, code)
    await sql`update clients set ${change} where email = ${peer.email}`
    return { code, peer }
  })
  return Promise.all(registering)
}

/** What the edge sends for a certificate that its handshake proved. */
export function edgeHeader({ certificate }: { certificate: string }) {
  return { 'x-ssl-cert': encodeURIComponent(certificate) }
}
