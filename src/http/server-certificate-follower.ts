import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import type { Server } from 'node:https'
import fp from 'fastify-plugin'

/** Milliseconds. */
const INTERVAL = 60_000

interface Options {
  certPath: string
  keyPath: string
  interval?: number
}

/**
 * With direct TLS: switches to a new server certificate when its files change, without a restart. While the files do not match, the old
 * certificate stays in use.
 */
export default fp<Options>(
  async (fastify, { certPath, keyPath, interval = INTERVAL }) => {
    const server = fastify.server as unknown as Server
    const reload = () => {
      try {
        server.setSecureContext({ cert: readFileSync(certPath), key: readFileSync(keyPath), minVersion: 'TLSv1.2' })
        fastify.log.info('the server certificate was renewed')
      } catch (err) {
        fastify.log.warn(
          { err },
          'cannot read the new server certificate; the old one stays in use until its files change again'
        )
      }
    }
    for (const path of [certPath, keyPath]) watchFile(path, { interval, persistent: false }, reload)
    fastify.addHook('onClose', async () => {
      for (const path of [certPath, keyPath]) unwatchFile(path, reload)
    })
  },
  { name: 'server-certificate-follower' }
)
