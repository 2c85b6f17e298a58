import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { PeerError } from '../errors.ts'
import { type Credentials, isFor, newCredentials, readCredentials } from './credentials.ts'
import {
  createFile,
  errorCode,
  removeAbandoned,
  removeFiles,
  renameNew,
  replaceFile,
  takeAway
} from './identity-files.ts'
import { createSettings, isSameIdentity, readSettings, replaceSettings, type Settings } from './settings.ts'

export { type Credentials, fingerprintOf } from './credentials.ts'

/** The key as long as the tracker certainly has not registered it. Its name is the flag, because a rename is never half done. */
const UNREGISTERED = 'unregistered.pem'
const REGISTERED = 'identity.pem'
const NEXT = 'next.pem'
const DAMAGED = 'next.pem.damaged'
const FILES = [UNREGISTERED, REGISTERED, NEXT, DAMAGED, 'settings.json', 'known-peers.json', 'known-peers.json.damaged']
/** With the lock, which leads to whoever announces this identity. */
const ALL_FILES = [...FILES, 'running.sock']

/**
 * A peer's folder, mode 0700, with files of mode 0600: `settings.json`, `identity.pem` (key and certificate in one file, so that they
 * always match; `unregistered.pem` before the tracker is asked to register it), `known-peers.json` and, during a rotation, `next.pem`.
 * Files are written whole or not at all, and a key is created, registered and replaced by one process alone.
 */
export class Identity {
  readonly dir: string
  /** Called with new credentials, even if another process made them. */
  onChange: (credentials: Credentials) => void = () => {}
  #settings: Settings
  #credentials: Credentials

  private constructor(dir: string, settings: Settings, credentials: Credentials) {
    this.dir = dir
    this.#settings = settings
    this.#credentials = credentials
  }

  static exists(dir: string): boolean {
    return [REGISTERED, UNREGISTERED].some((file) => existsSync(join(dir, file)))
  }

  /** @throws PeerError `no_identity` when there is none, `identity_damaged`, `identity_unreadable` */
  static load(dir: string): Identity {
    const credentials = readIdentity(dir)
    const identity = new Identity(dir, readSettings(dir), credentials)
    removeAbandoned(dir, ALL_FILES)
    return identity
  }

  /**
   * Loads the identity in a folder, or creates one there. If several processes create one at the same time, all get the same. One that
   * the tracker certainly has not registered is replaced if it is another address's or tracker's.
   *
   * @throws PeerError `other_identity` if the folder has another address's or tracker's; and as `load`
   */
  static async open(dir: string, settings: Settings): Promise<Identity> {
    if (!isComplete(dir)) await create(dir, settings)
    const identity = Identity.load(dir)
    if (isSameIdentity(identity.settings, settings)) return identity
    if (!discardUnregistered(dir)) throw otherIdentity(dir, identity.settings)
    return Identity.open(dir, settings)
  }

  /** Deletes the identity in a folder, even a damaged one, and the folder if nothing else is in it. */
  static remove(dir: string): void {
    try {
      removeFiles(dir, ALL_FILES)
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return
      throw new PeerError('identity_not_saved', `${dir} could not be deleted: ${(cause as Error).message}`, { cause })
    }
    try {
      rmdirSync(dir)
    } catch {} // it has other files, or is a link or a mount point
  }

  get settings(): Readonly<Settings> {
    return this.#settings
  }

  /** Changes settings. @throws PeerError `identity_not_saved`; and as `claim` */
  save(changes: Pick<Settings, 'ca' | 'port'>): void {
    this.#checkOwner()
    const settings = { ...this.#settings, ...changes }
    replaceSettings(this.dir, settings)
    this.#settings = settings
  }

  get credentials(): Credentials {
    return this.#credentials
  }

  /** False while it is certain that the tracker has not registered this identity. */
  get isRegistered(): boolean {
    return existsSync(join(this.dir, REGISTERED))
  }

  /**
   * Keeps this identity from being replaced, before the tracker is asked to register it: if the answer is lost, the tracker may have.
   *
   * @returns whether the tracker certainly has not registered it before
   * @throws PeerError `no_identity` or `other_identity` if another process has deleted or replaced it
   */
  claim(): boolean {
    this.#checkOwner()
    const isFirst = renameNew(this.dir, UNREGISTERED, REGISTERED)
    this.#checkOwner()
    return isFirst
  }

  /** Undoes `claim`, after the tracker has refused. */
  unclaim(): void {
    try {
      renameNew(this.dir, REGISTERED, UNREGISTERED)
    } catch {} // then it counts as registered
  }

  /** Reads the credentials again: another process may have changed them. */
  refresh(): Credentials {
    let credentials = this.#credentials
    try {
      credentials = readIdentity(this.dir)
    } catch {} // they were deleted, or damaged: those in use are not
    this.#use(credentials)
    return credentials
  }

  /** Replaces credentials that were claimed, and no tracker has registered. @param now by the tracker's clock */
  async recreate(now: number): Promise<void> {
    replaceFile(this.dir, REGISTERED, await newCredentials(this.settings.email, now))
    this.refresh()
  }

  /** The next credentials, if there are any. */
  next(): Credentials | undefined {
    try {
      return readCredentials(join(this.dir, NEXT))
    } catch (error) {
      if (errorCode(error) !== 'identity_damaged') throw error
      takeAway(this.dir, NEXT, DAMAGED) // and not deleted: the tracker may have accepted them
      return undefined
    }
  }

  /** Makes the next credentials, unless this or another process has already. @param now by the tracker's clock */
  async makeNext(now = Date.now()): Promise<Credentials> {
    const next = this.next()
    if (next) return next
    createFile(this.dir, NEXT, await newCredentials(this.settings.email, now))
    return this.makeNext(now)
  }

  /** Puts the next credentials to use, unless another process has. */
  promote({ fingerprint }: Credentials): Credentials {
    if (this.next()?.fingerprint === fingerprint) {
      takeAway(this.dir, NEXT, REGISTERED)
      takeAway(this.dir, DAMAGED) // the tracker has forgotten them
    }
    return this.refresh()
  }

  /** Deletes the next credentials, unless another process has made others since. */
  discardNext({ fingerprint }: Credentials) {
    if (this.next()?.fingerprint === fingerprint) takeAway(this.dir, NEXT)
  }

  /** @throws unless the folder still has this identity; its credentials may be new */
  #checkOwner() {
    const credentials = readIdentity(this.dir)
    const settings = readSettings(this.dir)
    if (!isSameIdentity(settings, this.#settings)) throw otherIdentity(this.dir, settings)
    this.#use(credentials)
  }

  #use(credentials: Credentials) {
    const isNew = credentials.fingerprint !== this.#credentials.fingerprint
    this.#credentials = credentials
    if (isNew) this.onChange(credentials)
  }
}

function isComplete(dir: string): boolean {
  return Identity.exists(dir) && existsSync(join(dir, 'settings.json'))
}

/** The key comes first, and is created by one process alone: the identity is that of its certificate. */
async function create(dir: string, settings: Settings): Promise<void> {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new PeerError('identity_not_saved', `${dir} could not be created: ${(cause as Error).message}`, { cause })
  }
  if (!Identity.exists(dir)) {
    createFile(dir, UNREGISTERED, await newCredentials(settings.email))
    // Another process may have registered one since.
    if (existsSync(join(dir, REGISTERED))) takeAway(dir, UNREGISTERED)
  }
  if (isFor(settings.email, readIdentity(dir))) return createSettings(dir, settings)
  if (!discardUnregistered(dir))
    throw new PeerError('other_identity', `the certificate in ${dir} is for another e-mail address`)
  return create(dir, settings)
}

/** @throws PeerError `no_identity` */
function readIdentity(dir: string): Credentials {
  // Once more, because another process may rename it in between.
  for (const file of [REGISTERED, UNREGISTERED, REGISTERED]) {
    const credentials = readCredentials(join(dir, file))
    if (credentials) return credentials
  }
  throw new PeerError('no_identity', `there is no identity in ${dir}`)
}

/** @returns whether the folder has none any more */
function discardUnregistered(dir: string): boolean {
  const isTaken = takeAway(dir, UNREGISTERED)
  if (existsSync(join(dir, REGISTERED))) return false
  if (isTaken) takeAway(dir, 'settings.json')
  return true
}

function otherIdentity(dir: string, { email, tracker }: Settings) {
  return new PeerError('other_identity', `the identity in ${dir} is for ${email} at ${tracker}`)
}
