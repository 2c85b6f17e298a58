import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import app from '../app.ts'
import { renewServerCertificate, renewServerCertificateDaily } from '../http/server-certificate.ts'
import { serverOptions } from '../http/server-options.ts'
import { startEmbeddedPostgres } from '../postgres/embedded-postgres.ts'
import { migrate } from '../postgres/migrations.ts'
import { type Config, loadConfig } from '../runtime/config.ts'
import { claimDataFolder } from '../runtime/data-folder.ts'
import { serve } from '../runtime/lifecycle.ts'
import { freePort } from '../runtime/listen-port.ts'
import { run } from '../runtime/main-function.ts'
import cleanup from '../workers/expiry-cleanup.ts'
import mailer from '../workers/mail-delivery.ts'

/** The names in the server certificate. */
const HOSTS = ['localhost', '127.0.0.1', '::1', hostname()]

/** `npm start`: everything on one machine, with nothing to install. */
await run(async () => {
  const { TLS_CERT_PATH, TLS_KEY_PATH } = process.env
  const dataDir = process.env.DATA_DIR || '.data'
  claimDataFolder(dataDir)
  const makesCertificate = !TLS_CERT_PATH && !TLS_KEY_PATH
  if (makesCertificate) await renewServerCertificate(dataDir, HOSTS)
  const config = await loadConfig({
    PORT: '8443',
    ...process.env,
    ...(makesCertificate && { TLS_CERT_PATH: join(dataDir, 'server.crt'), TLS_KEY_PATH: join(dataDir, 'server.key') }),
    DATABASE_URL: 'postgres://embedded',
    DATABASE_POOLER_URL: '',
    DATABASE_PASSWORD_FILE: ''
  })
  await freePort(config.HOST, config.PORT)

  const fastify = Fastify(serverOptions(config))
  const database = await startEmbeddedPostgres(dataDir, fastify.log)
  config.DATABASE_URL = database.url
  fastify.addHook('onClose', database.stop)
  try {
    await migrate(database.url)
    fastify.register(app, { config })
    fastify.register(cleanup, { schedule: config.CLEANUP_SCHEDULE })
    if (config.mail) fastify.register(mailer, config.mail)
    await serve(fastify, config.HOST, config.PORT)
    if (makesCertificate) renewServerCertificateDaily(dataDir, HOSTS, fastify.log)
    welcome(dataDir, config)
    await database.keepRunning()
  } catch (error) {
    await fastify.close()
    throw error
  }
})

function welcome(dataDir: string, { PORT, TLS_CERT_PATH }: Config) {
  const url = `https://localhost:${PORT}`
  const authority = join(dataDir, 'ca.crt')
  console.log(`
Relay Tracker is ready at ${url}/api/relay/
The URL of its database is in ${join(dataDir, 'database-url')}. Stop it with Ctrl-C.

A first peer, in another terminal:
  npm run certificate -- alice
  curl --cacert ${existsSync(authority) ? authority : TLS_CERT_PATH} --json @certs/alice.json ${url}/api/relay/register
`)
}
