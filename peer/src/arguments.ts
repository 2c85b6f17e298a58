import { X509Certificate } from 'node:crypto'
import { isIP, SocketAddress } from 'node:net'
import { inspect } from 'node:util'
import { isIn, subnets } from './address-ranges.ts'
import { PeerError } from './errors.ts'
import type { Broadcast } from './tracker/tracker.ts'

/** Limits of the tracker. */
const MAX_EMAIL = 254
const MAX_ADDRESSES = 16
/** Bytes of JSON. */
const MAX_CAPABILITIES = 4096
const MAX_LEVELS = 32
/** Names of at most 63 characters, separated by dots; the last one is not a number, unlike in an IP address. */
const EMAIL =
  /^(?=[^@]{1,64}@)[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)+[a-z]([a-z\d-]{0,61}[a-z\d])?$/i
/** Nobody can reach another peer there. */
const UNREACHABLE = subnets('127.0.0.0/8', '224.0.0.0/3', '::1/128', 'ff00::/8')

/** @returns the tracker's URL without a slash at its end */
export function checkTracker(tracker: unknown): string {
  const url = typeof tracker === 'string' ? URL.parse(tracker) : null
  if (url?.protocol !== 'https:') throw invalid(`tracker is not a URL that begins with https://: ${show(tracker)}`)
  if (url.href !== `${url.origin}/`) {
    throw invalid(`tracker has more than a host and a port: write ${url.origin}`)
  }
  return url.origin
}

/** @returns the address in lower case, as the tracker stores it */
export function checkEmail(email: unknown): string {
  if (typeof email === 'string' && email.length <= MAX_EMAIL && EMAIL.test(email)) return email.toLowerCase()
  throw invalid(`this is not an e-mail address: ${show(email)}`)
}

/** @param ca one or more certificates (PEM), or undefined for the public authorities */
export function checkCa(ca: unknown): string | undefined {
  if (ca === undefined) return undefined
  try {
    if (typeof ca !== 'string') throw new Error('it is not a string')
    return new X509Certificate(ca) && ca
  } catch (cause) {
    throw invalid('ca is not a certificate in PEM', cause)
  }
}

/** @param min 0 if any free port will do */
export function checkPort(port: unknown, min = 1): number {
  return checkInteger('port', port, min, 65_535)
}

/** Checks the options of a call that has only `signal`. */
export function checkCallOptions(options: { signal?: AbortSignal | undefined }): AbortSignal | undefined {
  return checkSignal(checkOptions(options, ['signal']).signal)
}

/** @param signal undefined for none */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw invalid(`signal is not an AbortSignal: ${show(signal)}`)
}

/** @returns the addresses to announce, each once */
export function checkAddresses(addresses: unknown): string[] {
  const canonical = checkLiterals(addresses).map(toCanonical)
  const unreachable = canonical.find((address) => isIn(UNREACHABLE, address))
  if (unreachable) throw invalid(`addresses contains one that no other peer can reach: ${unreachable}`)
  return [...new Set(canonical)]
}

/** @param host the address to listen on; undefined for all */
export function checkHost(host: unknown): string | undefined {
  if (host === undefined || isLiteral(host)) return host
  throw invalid(`host is not an IP address: ${show(host)}`)
}

export function checkCapabilities(capabilities: unknown): Record<string, unknown> {
  const json = stringify(capabilities)
  if (!json?.startsWith('{')) throw invalid(`capabilities is not a JSON object: ${show(capabilities)}`)
  const size = Buffer.byteLength(json)
  if (size > MAX_CAPABILITIES)
    throw invalid(`capabilities has ${size} bytes as JSON; at most ${MAX_CAPABILITIES} are allowed`)
  const copy = JSON.parse(json)
  if (!isStorable(copy, MAX_LEVELS)) {
    throw invalid(`capabilities has more than ${MAX_LEVELS} levels, a member __proto__, or an unpaired surrogate`)
  }
  return copy
}

/** @param ttl seconds; the tracker has its own bounds */
export function checkTtl(ttl: unknown): number {
  return checkInteger('ttl', ttl, 1, 2 ** 31 - 1)
}

/** SHA-256 in base64url. */
export function checkFingerprint(fingerprint: unknown): string {
  if (typeof fingerprint === 'string' && /^[\w-]{43}$/.test(fingerprint)) return fingerprint
  throw invalid(`this is not a fingerprint (43 characters of base64url): ${show(fingerprint)}`)
}

/** @returns what to look the peer up by */
export function checkPeer(peer: unknown): { email: string } | { fingerprint: string } {
  if (typeof peer === 'string') return { email: checkEmail(peer) }
  const { email, fingerprint } = (peer ?? {}) as { email?: unknown; fingerprint?: unknown }
  if (email !== undefined && fingerprint !== undefined)
    throw invalid('name the peer by email or by fingerprint, not both')
  return email === undefined ? { fingerprint: checkFingerprint(fingerprint) } : { email: checkEmail(email) }
}

/** A peer as `lookup` and `watch` describe it. */
export function checkBroadcast(broadcast: Broadcast): Broadcast {
  if (typeof broadcast !== 'object' || broadcast === null) {
    throw invalid(`name the peer by its e-mail address, or give its broadcast: ${show(broadcast)}`)
  }
  const { email, fingerprint, port, addresses } = broadcast
  checkFingerprint(fingerprint)
  checkPort(port)
  checkLiterals(addresses)
  return { ...broadcast, email: checkEmail(email) }
}

/** @param timeout milliseconds */
export function checkTimeout(timeout: unknown): number {
  return checkInteger('timeout', timeout, 1, 2 ** 31 - 1)
}

/** The name of a folder. */
export function checkDir(dir: unknown): string {
  if (typeof dir === 'string' && dir !== '' && !dir.includes('\0')) return dir
  throw invalid(`dir is not the name of a folder: ${show(dir)}`)
}

export function checkBoolean(name: string, value: unknown) {
  if (typeof value !== 'boolean') throw invalid(`${name} is neither true nor false: ${show(value)}`)
}

export function checkFunction(name: string, value: unknown) {
  if (value !== undefined && typeof value !== 'function') throw invalid(`${name} is not a function: ${show(value)}`)
}

export function checkLogger(logger: unknown) {
  if (logger === undefined) return
  const { info, warn } = (logger ?? {}) as { info?: unknown; warn?: unknown }
  if (typeof info !== 'function' || typeof warn !== 'function') throw invalid('logger does not have both info and warn')
}

/** @param only undefined for all */
export function checkEmails(only: unknown): Set<string> | undefined {
  if (only === undefined) return undefined
  if (!Array.isArray(only)) throw invalid(`only is not a list of e-mail addresses: ${show(only)}`)
  return new Set(only.map(checkEmail))
}

/** @throws PeerError `invalid_argument` for an option that does not exist, which is often a misspelling */
export function checkOptions<T extends object>(options: T | undefined, names: (keyof T & string)[]): T {
  if (typeof options !== 'object' || options === null) throw invalid(`the options are not an object: ${show(options)}`)
  const unknown = Object.keys(options).find((name) => !names.includes(name as keyof T & string))
  if (unknown !== undefined) throw invalid(`there is no option ${unknown}; the options are ${names.join(', ')}`)
  return options
}

/** The error for a wrong argument. */
export function invalid(message: string, cause?: unknown): PeerError {
  return new PeerError('invalid_argument', message, { cause })
}

function checkInteger(name: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number
  throw invalid(`${name} is not an integer from ${min} to ${max}: ${show(value)}`)
}

function checkLiterals(addresses: unknown): string[] {
  if (!Array.isArray(addresses) || addresses.length === 0 || addresses.length > MAX_ADDRESSES) {
    throw invalid(`addresses is not a list of 1 to ${MAX_ADDRESSES} IP addresses: ${show(addresses)}`)
  }
  const wrong = addresses.findIndex((address) => !isLiteral(address))
  if (wrong < 0) return addresses
  throw invalid(`addresses contains one that is not an IP address, or has a zone: ${show(addresses[wrong])}`)
}

function isLiteral(address: unknown): address is string {
  return typeof address === 'string' && isIP(address) !== 0 && !address.includes('%')
}

/** As RFC 5952 writes it. */
function toCanonical(address: string): string {
  if (isIP(address) === 4) return address
  const { address: canonical } = new SocketAddress({ address, family: 'ipv6' })
  return canonical.startsWith('::ffff:') && canonical.includes('.') ? canonical.slice('::ffff:'.length) : canonical
}

/** Whether the tracker accepts this JSON. */
function isStorable(value: unknown, levels: number): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  return (
    levels > 0 &&
    Object.entries(value).every(
      ([name, member]) => name !== '__proto__' && name.isWellFormed() && isStorable(member, levels - 1)
    )
  )
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined // it contains itself, or a BigInt
  }
}

function show(value: unknown): string {
  return (typeof value === 'string' ? value : inspect(value, { depth: 1, breakLength: Infinity })).slice(0, 100)
}
