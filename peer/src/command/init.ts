import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RelayPeer, TrackerError } from '../index.ts'
import { CommandError } from './failure.ts'
import { print } from './output.ts'
import { type CommonOptions, verb } from './verb.ts'

/** `relay-peer init`: an identity, registered. Again is harmless. */
export const init = verb(
  'init',
  'Make a key and a certificate, and register them with an e-mail address',
  'relay-peer init --tracker https://relay.example.com --email alice@example.com',
  'relay-peer init --tracker https://localhost:8443 --ca .data/ca.crt --email bob@example.com --dir bob'
)
  .requiredOption('--tracker <url>', 'where the tracker is')
  .requiredOption('--email <address>', 'who others look for')
  .option('--ca <file>', "the tracker's certificate, when no public authority vouches for it", readCertificate)
  .action(async (options: CommonOptions & { tracker: string; email: string; ca?: string }) => {
    const { dir, tracker, email, ca } = options
    const isNew = !RelayPeer.exists(dir)
    const peer = await RelayPeer.open({ dir, tracker, email, ...(ca !== undefined && { ca }) })
    try {
      const { isEmailPending } = await peer.register()
      const { fingerprint } = peer.credentials
      const next = isEmailPending ? `Now open the link that was sent to ${peer.email}` : 'Now: relay-peer up'
      print(
        options,
        { email: peer.email, tracker: peer.tracker, dir, fingerprint, email_pending: isEmailPending },
        `${peer.email} is registered at ${peer.tracker}\nIdentity: ${dir}\nFingerprint: ${fingerprint}\n${next}`
      )
    } catch (error) {
      // What was refused for good leaves nothing behind.
      if (isNew && error instanceof TrackerError && !error.isTemporary) peer.discard()
      throw error
    } finally {
      await peer.close()
    }
  })

function readCertificate(path: string) {
  try {
    const pem = readFileSync(path, 'utf8')
    return new X509Certificate(pem) && pem
  } catch (error) {
    throw new CommandError('usage', `--ca ${path} is not the file of a certificate: ${(error as Error).message}`)
  }
}
