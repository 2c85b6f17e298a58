import { join } from 'node:path'
import { PeerError } from '../errors.ts'
import { readText, replaceFile, takeAway } from '../identity/identity-files.ts'
import { isSuccessor } from '../identity/rotation-chain.ts'
import type { Broadcast } from '../tracker/tracker.ts'

/** A peer that this one has connected with, or was told to trust. */
export interface KnownPeer {
  email: string
  /** That of its certificate. */
  fingerprint: string
  port: number
  /** Those that worked come first, the most recent one before the others. */
  addresses: string[]
  /** RFC 3339, UTC; null if this peer has never connected with it. */
  last_connected: string | null
}

/** A peer that has proved its certificate. */
interface Met {
  email: string
  fingerprint: string
  /** PEM. */
  certificate: string
  port: number
  addresses: string[]
  /** The one that worked, if this peer called. */
  address?: string | undefined
}

interface Entry extends Omit<KnownPeer, 'email'> {
  /** PEM. Its key verifies a signed rotation. Missing if only the fingerprint was trusted. */
  certificate?: string | undefined
  /** Whether this peer has called or trusted it. Callers do not displace such peers. */
  isChosen: boolean
}

type Entries = Record<string, Entry>

const FILE = 'known-peers.json'
/** Peers that this one has called or trusted; and as many again that have called it. */
const MAX_PEERS = 1000
const MAX_ADDRESSES = 16

/**
 * The peers that this one has connected with, as SSH remembers hosts: at most 2000, in `known-peers.json`. The file is read each time,
 * because other processes with this identity write to it too.
 */
export class KnownPeers {
  readonly #dir: string
  readonly #warn: (message: string) => void

  /** @param warn called if the file was damaged and renamed, or cannot be saved */
  constructor(dir: string, warn: (message: string) => void) {
    this.#dir = dir
    this.#warn = warn
  }

  list(): KnownPeer[] {
    return Object.entries(this.#read()).map(([email, entry]) => toKnownPeer(email, entry))
  }

  find(email: string): KnownPeer | undefined {
    const entry = this.#read()[email]
    return entry && toKnownPeer(email, entry)
  }

  findByFingerprint(fingerprint: string): KnownPeer | undefined {
    return this.list().find((peer) => peer.fingerprint === fingerprint)
  }

  /**
   * Checks that a peer is new, or has the known certificate or one that its former keys have signed.
   *
   * @returns what is known of it
   * @throws PeerError `fingerprint_changed`
   */
  check(peer: Pick<Broadcast, 'email' | 'fingerprint' | 'rotations'>): KnownPeer | undefined {
    const { email, fingerprint: presented, rotations } = peer
    const entry = this.#read()[email]
    if (!entry) return undefined
    const { fingerprint: known } = entry
    if (known === presented || isSuccessor(entry, presented, rotations)) return toKnownPeer(email, entry)
    throw new PeerError(
      'fingerprint_changed',
      `${email} has a new fingerprint, ${presented}, which its old key has not signed; the known one is ${known}`,
      { known, presented, email }
    )
  }

  /**
   * Remembers a peer that has proved its certificate. If that cannot be saved, the connection continues all the same.
   */
  remember(peer: Met): void {
    try {
      this.#remember(peer)
    } catch (error) {
      this.#warn((error as Error).message)
    }
  }

  #remember({ email, address, addresses, ...proved }: Met) {
    const entries = this.#read()
    const before = entries[email]
    const good = [
      ...(address ? [address] : []),
      ...(before?.port === proved.port ? before.addresses : []),
      ...addresses
    ]
    entries[email] = {
      fingerprint: proved.fingerprint,
      certificate: proved.certificate,
      port: proved.port,
      addresses: [...new Set(good)].slice(0, MAX_ADDRESSES),
      last_connected: new Date().toISOString(),
      isChosen: address !== undefined || before?.isChosen === true
    }
    this.#write(entries)
  }

  /** Accepts a new certificate of a known peer, or that of a peer that is not known yet. */
  trust(email: string, fingerprint: string): void {
    const entries = this.#read()
    const before = entries[email]
    const unknown: Entry = { fingerprint, port: 0, addresses: [], last_connected: null, isChosen: true }
    if (before?.fingerprint === fingerprint) entries[email] = { ...before, isChosen: true }
    else entries[email] = { ...unknown, ...before, fingerprint, certificate: undefined, isChosen: true }
    this.#write(entries)
  }

  /** @returns whether it was known */
  forget(email: string): boolean {
    const entries = this.#read()
    const isKnown = entries[email] !== undefined
    delete entries[email]
    if (isKnown) this.#write(entries)
    return isKnown
  }

  /** @throws PeerError `identity_unreadable`: then nothing is known of anybody, which must not look as if all peers were new */
  #read(): Entries {
    const path = join(this.#dir, FILE)
    const text = readText(path)
    if (text === undefined) return Object.create(null)
    try {
      return Object.assign(Object.create(null), JSON.parse(text).peers)
    } catch {
      takeAway(this.#dir, FILE, `${FILE}.damaged`)
      this.#warn(`${path} was damaged, and is now ${FILE}.damaged: all peers are new again`)
      return Object.create(null)
    }
  }

  #write(entries: Entries) {
    const kept = [true, false].flatMap((isChosen) =>
      Object.entries(entries)
        .filter(([, entry]) => entry.isChosen === isChosen)
        .sort(([, a], [, b]) => String(b.last_connected).localeCompare(String(a.last_connected)))
        .slice(0, MAX_PEERS)
    )
    replaceFile(this.#dir, FILE, `${JSON.stringify({ version: 1, peers: Object.fromEntries(kept) }, null, 1)}\n`)
  }
}

function toKnownPeer(email: string, { fingerprint, port, addresses, last_connected }: Entry): KnownPeer {
  return { email, fingerprint, port, addresses, last_connected }
}
