import { loadConfig } from '../runtime/config.ts'
import { run } from '../runtime/main-function.ts'
import mailer from '../workers/mail-delivery.ts'
import { serveWorker } from '../workers/worker-server.ts'

/** `npm run mailer`: sends the e-mails that confirm addresses; idle without SMTP_URL. */
await run(async () => {
  const config = await loadConfig()
  await serveWorker(config, 'MAILER_PORT', (fastify) => {
    if (config.mail) fastify.register(mailer, config.mail)
  })
})
