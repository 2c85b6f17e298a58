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

export interface Settings {
  /** The tracker's URL, without a path: https://relay.example.com */
  tracker: string
  email: string
  /** The tracker's certificate (PEM), if no public authority vouches for it. */
  ca?: string
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/
const PRIVATE_KEY = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/
/** The common name is at most 64 characters long (RFC 5280, `ub-common-name`). */
const MAX_COMMON_NAME = 64

/**
 * A peer's folder, mode 0700, with files of mode 0600: `settings.json`, `identity.pem` (key and certificate in one file, so that they
 * always match) and, during a rotation, `next.pem`. Files are written whole or not at all.
 */
export class Identity {
  readonly dir: string
  readonly settings: Settings
  /** Called with new credentials, even if another process made them. */
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

  /** Creates the folder with a new key and certificate. It must not have an identity yet. */
  static async create(dir: string, settings: Settings): Promise<Identity> {
    const pem = await newCredentials(settings.email)
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    writeSettings(dir, settings)
    write(dir, 'identity.pem', pem, renameSync)
    return Identity.load(dir)
  }

  /** Changes the tracker's certificate. */
  trust(ca: string) {
    this.settings.ca = ca
    writeSettings(this.dir, this.settings)
  }

  get credentials(): Credentials {
    return this.#credentials
  }

  /** Reads the credentials again: another process may have changed them. */
  refresh(): Credentials {
    // If another process removed them, this one keeps them.
    tolerate('ENOENT', () => this.#use(readCredentials(join(this.dir, 'identity.pem'))))
    return this.#credentials
  }

  /** The next credentials, if there are any. */
  next(): Credentials | undefined {
    return existsSync(this.#nextPath) ? readCredentials(this.#nextPath) : undefined
  }

  /** Makes the next credentials, unless this or another process has already. */
  async makeNext(): Promise<Credentials> {
    const pem = await newCredentials(this.settings.email)
    // Unlike a rename, a link never replaces a file.
    tolerate('EEXIST', () => write(this.dir, 'next.pem', pem, linkSync))
    return readCredentials(this.#nextPath)
  }

  /** Puts the next credentials to use, unless another process has. */
  promote({ fingerprint }: Credentials): Credentials {
    tolerate('ENOENT', () => {
      if (readCredentials(this.#nextPath).fingerprint === fingerprint) {
        renameSync(this.#nextPath, join(this.dir, 'identity.pem'))
      }
    })
    return this.refresh()
  }

  /** Deletes the next credentials, unless another process has made others since. */
  discardNext({ fingerprint }: Credentials) {
    if (this.next()?.fingerprint === fingerprint) rmSync(this.#nextPath, { force: true })
  }

  /** Deletes the identity, and the folder if nothing else is in it. */
  remove() {
    for (const file of ['identity.pem', 'next.pem', 'settings.json']) rmSync(join(this.dir, file), { force: true })
    tolerate('ENOTEMPTY', () => rmdirSync(this.dir))
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

/** Writes a file under another name first, so that it is complete when it appears. */
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
