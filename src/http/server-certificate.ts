import 'reflect-metadata' // @peculiar/x509 needs it first
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { createKeys, DAY, exportKey, KEY_TYPES, leafExtensions, yesterday } from '../../peer/src/self-signed.ts'
import { replaceFile } from '../runtime/replace-file.ts'

/** Days: so long that peers never have to replace the authority. */
const AUTHORITY_DAYS = 20 * 365
/** Days: Apple accepts at most 825 from a private authority, and 398 from a public one. */
const SERVER_DAYS = 397
const KEY_TYPE = 'p-256'
/** Renewal is due when this fraction of the lifetime is left. */
const LAST_PART = 1 / 3

/**
 * Ensures that a folder has a certificate for these hosts that is not due for renewal: `NAME.crt` and `NAME.key`. It is issued by the
 * authority `ca.crt`, which is made along with the first one and which peers trust, so they do not notice a renewal.
 *
 * Only what this authority issued is ever replaced: any other certificate or key was made by an earlier version or by somebody else. Two
 * processes must not do so at once.
 *
 * @param hosts DNS names and IP addresses; the first one is the common name
 * @returns what was done: `made`; `kept`, because it is not due; or `foreign`, because this authority did not issue it
 * @throws Error if one is due but the authority's key is missing; if a key or a certificate of somebody else is there alone
 */
export async function renewServerCertificate(
  dir: string,
  hosts: string[],
  name = 'server'
): Promise<'made' | 'kept' | 'foreign'> {
  const paths = { certificate: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
  const authority = { certificate: join(dir, 'ca.crt'), key: join(dir, 'ca.key') }
  const present = Object.values(paths).filter((path) => existsSync(path))
  if (present.length > 0 && !isIssuedBy(authority.certificate, paths.certificate)) {
    if (present.length === 2) return 'foreign'
    throw new Error(`found only ${present[0]} of ${paths.certificate} and ${paths.key}: provide both, or neither`)
  }
  const hasAuthorityKey = existsSync(authority.key)
  if (present.length === 2 && !(hasAuthorityKey && isDue(paths, hosts))) return 'kept'
  // Nobody who trusts this authority would trust a new one.
  if (existsSync(authority.certificate) && !hasAuthorityKey) {
    throw new Error(
      `${authority.certificate} has no key beside it: put ${authority.key} there while the certificate is made`
    )
  }
  mkdirSync(dir, { recursive: true })
  // After an interruption there may be a key without a certificate, which may have been trusted already.
  if (!hasAuthorityKey) replaceFile(authority.key, await exportKey(await createKeys(KEY_TYPE)), 0o600)
  const authorityKey = readFileSync(authority.key, 'utf8')
  if (!existsSync(authority.certificate)) {
    replaceFile(authority.certificate, await createAuthority(hosts[0] as string, authorityKey), 0o644)
  }
  const { certificate, key } = await issue(readFileSync(authority.certificate, 'utf8'), authorityKey, hosts)
  // The certificate first: a key alone is never taken for one that was made here.
  replaceFile(paths.certificate, certificate, 0o644)
  replaceFile(paths.key, key, 0o600)
  return 'made'
}

/** Calls `renewServerCertificate` once a day. A failure, such as a full disk, is logged and tried again the next day. */
export function renewServerCertificateDaily(
  dir: string,
  hosts: string[],
  log: { error: (message: string) => void },
  interval = DAY
): void {
  const renew = () =>
    renewServerCertificate(dir, hosts).catch(({ message }) => {
      log.error(
        `server certificate not renewed, trying again tomorrow; peers accept the old one until it expires: ${message}`
      )
    })
  setInterval(renew, interval).unref()
}

function isIssuedBy(authority: string, certificate: string) {
  try {
    const [issuer, issued] = [authority, certificate].map((file) => new X509Certificate(readFileSync(file)))
    return issued?.verify((issuer as X509Certificate).publicKey)
  } catch {
    return false // missing, or not readable as a certificate
  }
}

/** Due for renewal, or useless: the files do not match, cannot be read or lack a host. */
function isDue(paths: Pair, hosts: string[]) {
  try {
    const certificate = new X509Certificate(readFileSync(paths.certificate))
    const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()]
    const covers = (host: string) =>
      (isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined
    const isPair = certificate.checkPrivateKey(createPrivateKey(readFileSync(paths.key)))
    return to - Date.now() < LAST_PART * (to - from) || !hosts.every(covers) || !isPair
  } catch {
    return true
  }
}

interface Pair {
  certificate: string
  key: string
}

async function createAuthority(host: string, key: string): Promise<string> {
  const algorithm = KEY_TYPES[KEY_TYPE]
  const privateKey = createPrivateKey(key).toCryptoKey(algorithm, false, ['sign'])
  const publicKey = createPublicKey(key).toCryptoKey(algorithm, true, ['verify'])
  const notBefore = yesterday()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['Relay Tracker'] }, { CN: [`Authority of ${host}`.slice(0, 64)] }],
    notBefore,
    notAfter: new Date(notBefore.getTime() + AUTHORITY_DAYS * DAY),
    signingAlgorithm: algorithm,
    keys: { privateKey, publicKey },
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey)
    ]
  })
  return `${certificate.toString('pem')}\n`
}

async function issue(authorityPem: string, authorityKey: string, hosts: string[]): Promise<Pair> {
  const authority = new x509.X509Certificate(authorityPem)
  const signingAlgorithm = KEY_TYPES[KEY_TYPE]
  const signingKey = createPrivateKey(authorityKey).toCryptoKey(signingAlgorithm, false, ['sign'])
  const keys = await createKeys(KEY_TYPE)
  const notBefore = yesterday()
  const certificate = await x509.X509CertificateGenerator.create({
    // An issuer of the same name would mean that it is self-signed.
    subject: [{ CN: [(hosts[0] as string).slice(0, 64)] }],
    issuer: authority.subject,
    notBefore,
    notAfter: new Date(notBefore.getTime() + SERVER_DAYS * DAY),
    signingAlgorithm,
    signingKey,
    publicKey: keys.publicKey,
    extensions: [
      ...leafExtensions({ keyType: KEY_TYPE, hosts }),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey)
    ]
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys) }
}
