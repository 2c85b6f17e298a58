import { loadConfig } from '../runtime/config.ts'
import { run } from '../runtime/lifecycle.ts'
import mailer from '../workers/mail-delivery.ts'
import { serveWorker } from '../workers/worker-server.ts'

/** `npm run mailer`: sends the mails by which e-mail addresses are confirmed; without SMTP_URL it has nothing to do. */
await run(async () => {
  const config = await loadConfig()
  await serveWorker(config, 'MAILER_PORT', (fastify) => {
    if (config.mail) fastify.register(mailer, config.mail)
  })
})
