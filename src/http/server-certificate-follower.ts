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
 * With direct TLS: takes a server's certificate into use when its files change, so that whatever renews them need not restart the API.
 * Files that do not belong together yet are looked at again with their next change; until then the old certificate stays in use.
 */
export default fp<Options>(
  async (fastify, { certPath, keyPath, interval = INTERVAL }) => {
    const server = fastify.server as unknown as Server
    const reload = () => {
      try {
        server.setSecureContext({ cert: readFileSync(certPath), key: readFileSync(keyPath), minVersion: 'TLSv1.2' })
        fastify.log.info('the certificate of the server was renewed')
      } catch (err) {
        fastify.log.warn({ err }, 'the certificate of the server cannot be read; the old one stays in use')
      }
    }
    for (const path of [certPath, keyPath]) watchFile(path, { interval, persistent: false }, reload)
    fastify.addHook('onClose', async () => {
      for (const path of [certPath, keyPath]) unwatchFile(path, reload)
    })
  },
  { name: 'server-certificate-follower' }
)
