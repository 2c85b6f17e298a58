import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import app from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { run } from '../src/process.ts'
import { serverOptions } from '../src/server-options.ts'

/** `npm run openapi [-- FILE]`: writes openapi.json, the description of an API that has every call, with the default settings. */
await run(async () => {
  const [file = join(import.meta.dirname, '..', 'openapi.json')] = process.argv.slice(2)
  const config = await loadConfig({
    // Neither of them is there, nor needed.
    DATABASE_URL: 'postgres://nobody@localhost/none',
    SMTP_URL: 'smtp://localhost',
    MAIL_FROM: 'relay@example.com',
    PUBLIC_URL: 'https://relay.example.com',
    INTERNAL_PORT: '0',
    LOG_LEVEL: 'error'
  })
  const fastify = Fastify(serverOptions(config))
  fastify.register(app, { config })
  await fastify.ready()
  writeFileSync(file, `${JSON.stringify(fastify.swagger(), null, 2)}\n`)
  await fastify.close()
})
