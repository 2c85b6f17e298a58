import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { CommandError, type Terminal } from '../cli/terminal.ts'
import { RelayPeer } from '../index.ts'

interface Options {
  dir: string
  tracker: string
  email: string
  ca?: string
}

/** `relay-peer init`: makes an identity and registers it. Safe to repeat. */
export async function init(terminal: Terminal, { dir, tracker, email, ca }: Options) {
  const certificate = ca !== undefined && { ca: readCertificate(ca) }
  const isNew = !RelayPeer.exists(dir)
  const peer = await RelayPeer.open({ dir, tracker, email, ...certificate })
  try {
    const { isEmailPending } = await peer.register()
    const { fingerprint } = peer.credentials
    const next = isEmailPending ? `Now open the link that was sent to ${peer.email}` : 'Now: relay-peer up'
    terminal.print(
      { email: peer.email, tracker: peer.tracker, dir, fingerprint, email_pending: isEmailPending },
      `${peer.email} is registered at ${peer.tracker}\nIdentity: ${dir}\nFingerprint: ${fingerprint}\n${next}`
    )
  } catch (error) {
    if (isNew && !peer.isRegistered) RelayPeer.discard(dir) // such as after a mistyped tracker
    throw error
  } finally {
    await peer.close()
  }
}

function readCertificate(path: string) {
  try {
    const pem = readFileSync(path, 'utf8')
    return new X509Certificate(pem) && pem
  } catch (error) {
    throw new CommandError('usage', `--ca ${path} is not a certificate in PEM: ${(error as Error).message}`)
  }
}
