import 'reflect-metadata' // @peculiar/x509 needs it first
import { webcrypto } from 'node:crypto'
import https from 'node:https'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import type { Test } from 'tap'
import { hostOfContainers, startNginx } from '../edge.ts'
import { createDatabase, eventually, send, startApi } from '../helper.ts'

/** The name by which clients in containers know the tracker. */
export const TRACKER = 'relay.test'
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export type Edge = keyof typeof EDGES
export type Tracker = Awaited<ReturnType<(typeof EDGES)[Edge]>>

/** A registration counts only with proof. */
const PROOF = { REGISTRATION_PROOF: 'required' }

/**
 * Trackers: at `url` for clients in containers, where TRACKER is at `address`, and at `localUrl` for this machine, which they reach at
 * `host`. All are to trust `ca`.
 */
export const EDGES = {
  async 'direct TLS'(t: Test) {
    const { host } = await hostOfContainers()
    const { ca, certificate, privateKey } = await createAuthority([TRACKER, host])
    const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
    const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key'), ...PROOF }
    const api = await startApi(t, { database: (await createDatabase(t)).patient, host, env })
    return { ca, relay: api.relay, host, address: host, url: `https://${TRACKER}:${api.port}`, localUrl: api.origin }
  },

  async nginx(t: Test) {
    const { host, name } = await hostOfContainers()
    const api = await startApi(t, { database: (await createDatabase(t)).patient, host, env: PROOF })
    const edge = await startNginx(t, `${name}:${api.port}`, { SERVER_NAME: TRACKER })
    const ca = await replaceCertificate(edge)
    const address = edge.nginx.getIpAddress('bridge')
    return { ca, relay: edge.relay, host, address, url: `https://${TRACKER}`, localUrl: edge.origin }
  }
}

/** Gives nginx a certificate that an authority has issued, as an operator may. */
async function replaceCertificate({ nginx, origin }: Awaited<ReturnType<typeof startNginx>>): Promise<string> {
  const { ca, certificate, privateKey } = await createAuthority([TRACKER, '127.0.0.1'])
  // Docker copies nothing into a tmpfs. The files are new ones, for nginx takes one that was merely written to in the second in
  // which it was made for unchanged.
  const script = `cd /etc/nginx/tls && echo "$1" > new.crt && echo "$2" > new.key
    mv new.crt server.crt && mv new.key server.key && nginx -s reload`
  const { exitCode, output } = await nginx.exec(['sh', '-c', script, 'sh', certificate, privateKey])
  if (exitCode !== 0) throw new Error(output)
  const agent = new https.Agent({ ca })
  const ask = () => send(origin, { agent, rejectUnauthorized: true } as object).then(String, String)
  await eventually(ask, (answer) => !answer.startsWith('Error'))
  return ca
}

/** A private authority, and a server's certificate by it. */
async function createAuthority(hosts: string[]) {
  const authority = await createKeys()
  const server = await createKeys()
  const issuer = 'CN=The authority of a test'
  const validity = { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() + 86_400_000) }
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: issuer,
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys: authority,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(authority.publicKey)
    ]
  })
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=relay tracker',
    issuer,
    ...validity,
    signingAlgorithm: ALGORITHM,
    publicKey: server.publicKey,
    signingKey: authority.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(hosts.map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value }))),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey)
    ]
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', server.privateKey)
  return {
    ca: ca.toString('pem'),
    certificate: certificate.toString('pem'),
    privateKey: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')
  }
}

async function createKeys() {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
}
