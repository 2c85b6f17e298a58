import { createHash, X509Certificate } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { PeerError } from './errors.ts'
import { createSelfSigned } from './self-signed.ts'

/** A key and its certificate. */
export interface Credentials {
  /** PEM. */
  certificate: string
  /** PEM. */
  privateKey: string
  /** SHA-256 of the certificate's DER in base64url, as RFC 8705 writes `x5t#S256`. */
  fingerprint: string
  notBefore: Date
  notAfter: Date
}

/** What a peer is registered as, and where. */
export interface Settings {
  /** The tracker's URL, without a path: https://relay.example.com */
  tracker: string
  email: string
  /** The certificate (PEM) by which to know the tracker, when no public authority vouches for it. */
  ca?: string
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/
const PRIVATE_KEY = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/
/** The common name is at most 64 characters long (RFC 5280, `ub-common-name`). */
const MAX_COMMON_NAME = 64

/**
 * A folder of a peer's own, mode 0700, every file in it 0600: `settings.json`, `identity.pem` (the key and the certificate in one
 * file, so that they always belong together) and, while the certificate changes, `next.pem`. Files appear whole or not at all.
 */
export class Identity {
  readonly dir: string
  readonly settings: Settings
  /** Told of other credentials than before, whichever process has made them. */
  onChange: (credentials: Credentials) => void = () => {}
  #credentials: Credentials

  private constructor(dir: string, settings: Settings, credentials: Credentials) {
    this.dir = dir
    this.settings = settings
    this.#credentials = credentials
  }

  static exists(dir: string): boolean {
    return existsSync(join(dir, 'identity.pem'))
  }

  /** @throws PeerError `no_identity` when there is none */
  static load(dir: string): Identity {
    if (!Identity.exists(dir)) throw new PeerError('no_identity', `there is no identity in ${dir}`)
    const settings = JSON.parse(readFileSync(join(dir, 'settings.json'), 'utf8'))
    return new Identity(dir, settings, readCredentials(join(dir, 'identity.pem')))
  }

  /** Makes a folder with a new key and certificate. The caller has looked whether there is one. */
  static async create(dir: string, settings: Settings): Promise<Identity> {
    const pem = await newCredentials(settings.email)
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    writeSettings(dir, settings)
    write(dir, 'identity.pem', pem, renameSync)
    return Identity.load(dir)
  }

  /** Changes the certificate by which to know the tracker. */
  trust(ca: string) {
    this.settings.ca = ca
    writeSettings(this.dir, this.settings)
  }

  /** The ones in use. */
  get credentials(): Credentials {
    return this.#credentials
  }

  /** Reads them again, for another process may have changed them. */
  refresh(): Credentials {
    // Another process may also have removed them, but not from us.
    tolerate('ENOENT', () => this.#use(readCredentials(join(this.dir, 'identity.pem'))))
    return this.#credentials
  }

  /** Those that are to follow, if any. */
  next(): Credentials | undefined {
    return existsSync(this.#nextPath) ? readCredentials(this.#nextPath) : undefined
  }

  /** Those that are to follow: made now, unless this or another process has made some already. */
  async makeNext(): Promise<Credentials> {
    const pem = await newCredentials(this.settings.email)
    // A link is never made over a file that is there.
    tolerate('EEXIST', () => write(this.dir, 'next.pem', pem, linkSync))
    return readCredentials(this.#nextPath)
  }

  /** Puts those that were to follow in force, unless another process did. */
  promote({ fingerprint }: Credentials): Credentials {
    tolerate('ENOENT', () => {
      if (readCredentials(this.#nextPath).fingerprint === fingerprint) {
        renameSync(this.#nextPath, join(this.dir, 'identity.pem'))
      }
    })
    return this.refresh()
  }

  /** Deletes those that were to follow, unless another process has made others since. */
  discardNext({ fingerprint }: Credentials) {
    if (this.next()?.fingerprint === fingerprint) rmSync(this.#nextPath, { force: true })
  }

  /** Deletes what is the identity's, and the folder when there is nothing else in it. */
  remove() {
    for (const file of ['identity.pem', 'next.pem', 'settings.json']) rmSync(join(this.dir, file), { force: true })
    tolerate('ENOTEMPTY', () => rmdirSync(this.dir)) // what else is in it is not ours
  }

  #use(credentials: Credentials) {
    const isNew = credentials.fingerprint !== this.#credentials.fingerprint
    this.#credentials = credentials
    if (isNew) this.onChange(credentials)
  }

  get #nextPath() {
    return join(this.dir, 'next.pem')
  }
}

/** A certificate's identity, as the tracker names it. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64url')
}

async function newCredentials(email: string) {
  const { certificate, privateKey } = await createSelfSigned({ commonName: email.slice(0, MAX_COMMON_NAME), email })
  return privateKey + certificate
}

function readCredentials(path: string): Credentials {
  const text = readFileSync(path, 'utf8')
  const [certificate] = CERTIFICATE.exec(text) ?? []
  const [privateKey] = PRIVATE_KEY.exec(text) ?? []
  if (!certificate || !privateKey) {
    throw new PeerError('no_identity', `${path} does not hold a key and a certificate`)
  }
  const { raw, validFromDate, validToDate } = new X509Certificate(certificate)
  return { certificate, privateKey, fingerprint: fingerprintOf(raw), notBefore: validFromDate, notAfter: validToDate }
}

function tolerate(code: string, act: () => void) {
  try {
    act()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
  }
}

function writeSettings(dir: string, settings: Settings) {
  write(dir, 'settings.json', `${JSON.stringify(settings, null, 2)}\n`, renameSync)
}

/** Writes a file beside, and then puts it in its place at once. */
function write(dir: string, name: string, text: string, place: (from: string, to: string) => void) {
  const beside = join(dir, `.${name}.${process.pid}`)
  const file = openSync(beside, 'w', 0o600)
  try {
    writeFileSync(file, text)
    fsyncSync(file)
    place(beside, join(dir, name))
  } finally {
    closeSync(file)
    rmSync(beside, { force: true })
  }
}
