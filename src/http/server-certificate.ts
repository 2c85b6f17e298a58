import 'reflect-metadata' // @peculiar/x509 needs it first
import { createPrivateKey, X509Certificate } from 'node:crypto'
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
 * A certificate without an authority beside it was made by an earlier version or by somebody else, and is left alone.
 *
 * @param hosts DNS names and IP addresses; the first one is the common name
 * @returns whether it made one
 * @throws Error if one is due but the authority's key is missing
 */
export async function renewServerCertificate(dir: string, hosts: string[], name = 'server'): Promise<boolean> {
  const paths = { certificate: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
  const authority = { certificate: join(dir, 'ca.crt'), key: join(dir, 'ca.key') }
  const hasAuthority = existsSync(authority.certificate) && existsSync(authority.key)
  const exists = existsSync(paths.certificate) && existsSync(paths.key)
  if (exists && !(hasAuthority && isDue(paths, hosts))) return false
  // Nobody who trusts this authority would trust a new one.
  if (existsSync(authority.certificate) && !hasAuthority) {
    throw new Error(
      `${authority.certificate} has no key beside it: put ${authority.key} there while the certificate is made`
    )
  }
  mkdirSync(dir, { recursive: true })
  if (!hasAuthority) write(authority, await createAuthority(hosts[0] as string))
  write(paths, await issue(readFileSync(authority.certificate, 'utf8'), readFileSync(authority.key, 'utf8'), hosts))
  return true
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

async function createAuthority(host: string): Promise<Pair> {
  const keys = await createKeys(KEY_TYPE)
  const notBefore = yesterday()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['Relay Tracker'] }, { CN: [`Authority of ${host}`.slice(0, 64)] }],
    notBefore,
    notAfter: new Date(notBefore.getTime() + AUTHORITY_DAYS * DAY),
    signingAlgorithm: KEY_TYPES[KEY_TYPE],
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys) }
}

async function issue(authorityPem: string, authorityKey: string, hosts: string[]): Promise<Pair> {
  const authority = new x509.X509Certificate(authorityPem)
  const signingAlgorithm = KEY_TYPES[KEY_TYPE]
  const pkcs8 = x509.PemConverter.decodeFirst(authorityKey)
  const signingKey = await crypto.subtle.importKey('pkcs8', pkcs8, signingAlgorithm, false, ['sign'])
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

/** The key first: after a crash in between, the old certificate no longer matches it, and both are made again. */
function write(paths: Pair, { certificate, key }: Pair) {
  replaceFile(paths.key, key, 0o600)
  replaceFile(paths.certificate, certificate, 0o644)
}
