import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import { DAY } from '../peer/src/self-signed.ts'
import app from './app.ts'
import { loadConfig } from './config.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'
import { renewServerCertificate } from './http/server-certificate.ts'
import { migrate } from './migrate.ts'
import cleanup from './plugins/cleanup.ts'
import mailer from './plugins/mailer.ts'
import { freePort } from './port.ts'
import { run, serve } from './process.ts'
import { claimDataFolder } from './runtime/data-folder.ts'
import { serverOptions } from './server-options.ts'

/** `npm start`: everything on one machine, nothing to install. */
await run(async () => {
  const { TLS_CERT_PATH, TLS_KEY_PATH } = process.env
  const dataDir = process.env.DATA_DIR || '.data'
  claimDataFolder(dataDir)
  const ownCertificate = TLS_CERT_PATH || TLS_KEY_PATH ? {} : await serverCertificate(dataDir)
  const config = await loadConfig({
    PORT: '8443',
    ...process.env,
    ...ownCertificate,
    DATABASE_URL: 'postgres://embedded',
    DATABASE_POOLER_URL: '',
    DATABASE_REPLICA_URL: '',
    DATABASE_PASSWORD_FILE: ''
  })
  await freePort(config.HOST, config.PORT)

  const database = await startEmbeddedPostgres(dataDir)
  config.DATABASE_URL = database.url
  const fastify = Fastify(serverOptions(config))
  fastify.addHook('onClose', database.stop)
  try {
    await migrate(database.url)
    fastify.register(app, { config })
    fastify.register(cleanup, { schedule: config.CLEANUP_SCHEDULE })
    if (config.mail) fastify.register(mailer, config.mail)
    await serve(fastify, config.HOST, config.PORT)
  } catch (error) {
    await fastify.close()
    throw error
  }

  const url = `https://localhost:${config.PORT}`
  const authority = join(dataDir, 'ca.crt')
  console.log(`
Relay Tracker is ready at ${url}/api/relay/
Its database: the URL in ${join(dataDir, 'database-url')}. To end it: Ctrl-C.

A first peer, in another terminal:
  npm run certificate -- alice
  curl --cacert ${existsSync(authority) ? authority : config.TLS_CERT_PATH} --json @certs/alice.json ${url}/api/relay/register
`)
})

/** The server's certificate and key, made at the first start and renewed in time. */
async function serverCertificate(dataDir: string) {
  const renew = () => renewServerCertificate(dataDir, ['localhost', '127.0.0.1', '::1', hostname()])
  await renew()
  // Tomorrow is another day: the one that is there lasts a while longer.
  const tryAgain = ({ message }: Error) => console.error(`the server's certificate could not be renewed: ${message}`)
  setInterval(() => renew().catch(tryAgain), DAY).unref()
  return { TLS_CERT_PATH: join(dataDir, 'server.crt'), TLS_KEY_PATH: join(dataDir, 'server.key') }
}
