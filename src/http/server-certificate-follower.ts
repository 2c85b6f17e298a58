import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import type { Server } from 'node:https'
import fp from 'fastify-plugin'

/** Milliseconds. */
const INTERVAL = 60_000

/** With direct TLS: loads a new server certificate when its files change. While they do not match, the old one stays in use. */
export default fp<{ certPath: string; keyPath: string; interval?: number }>(
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
