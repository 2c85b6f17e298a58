import { join } from 'node:path'
import { checkCa, checkEmail, checkPort, checkTracker } from '../arguments.ts'
import { damaged } from './credentials.ts'
import { createFile, readText, replaceFile } from './identity-files.ts'

/** What an identity is for. */
export interface Settings {
  /** The tracker's URL, without a path: https://relay.example.com */
  tracker: string
  email: string
  /** The certificate (PEM) of the tracker or of the authority that signed it, if that is not a public one. */
  ca?: string | undefined
  /** Where the peer listened last time. */
  port?: number | undefined
}

const FILE = 'settings.json'

/** @throws PeerError `identity_damaged`, also if there are none; `identity_unreadable` */
export function readSettings(dir: string): Settings {
  const path = join(dir, FILE)
  const text = readText(path)
  if (text === undefined) throw damaged(path, 'it is missing')
  try {
    const { tracker, email, ca, port } = JSON.parse(text)
    return {
      tracker: checkTracker(tracker),
      email: checkEmail(email),
      ca: checkCa(ca),
      port: port === undefined ? undefined : checkPort(port)
    }
  } catch (cause) {
    throw damaged(path, (cause as Error).message, cause)
  }
}

/** Writes settings, unless there are some. */
export function createSettings(dir: string, settings: Settings): void {
  createFile(dir, FILE, format(settings))
}

export function replaceSettings(dir: string, settings: Settings): void {
  replaceFile(dir, FILE, format(settings))
}

/** Whether both are of one identity. */
export function isSameIdentity(a: Settings, b: Settings): boolean {
  return a.email === b.email && a.tracker === b.tracker
}

function format(settings: Settings) {
  return `${JSON.stringify(settings, null, 2)}\n`
}
