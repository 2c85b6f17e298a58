import { loadConfig } from './config.ts'
import mailer from './plugins/mailer.ts'
import { run } from './process.ts'
import { serveWorker } from './worker.ts'

/** `npm run mailer`: sends the mails by which e-mail addresses are confirmed; without SMTP_URL it has nothing to do. */
await run(async () => {
  const config = await loadConfig()
  await serveWorker(config, 'MAILER_PORT', (fastify) => {
    if (config.mail) fastify.register(mailer, config.mail)
  })
})
