import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import Fastify from 'fastify'
import app from '../src/app.ts'
import { serverOptions } from '../src/http/server-options.ts'
import { loadConfig } from '../src/runtime/config.ts'
import { run } from '../src/runtime/main-function.ts'
import { apiPage } from './api-page.ts'
import { errorsPage } from './errors-page.ts'
import { nginxErrors } from './nginx-errors.ts'
import { peerReference } from './peer-reference.ts'
import { envExample, settingsPage } from './settings-pages.ts'

const root = join(import.meta.dirname, '..')

/** `npm run generate [-- FOLDER]`: writes the files that are made from the code, here or in another folder. */
await run(async () => {
  const [folder = root] = process.argv.slice(2)
  const api = await describeApi()
  const files = {
    'openapi.json': `${JSON.stringify(api, null, 2)}\n`,
    'docs/API.md': apiPage(api),
    'docs/CONFIGURATION.md': settingsPage(),
    'docs/ERRORS.md': errorsPage(),
    '.env.example': envExample(),
    'nginx/relay/errors.conf': nginxErrors(),
    'peer/REFERENCE.md': peerReference(join(root, 'peer/tsconfig.json'))
  }
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
})

/** The description of an API with all calls and the default settings. */
async function describeApi() {
  const config = await loadConfig({
    // Neither the database nor the mail server has to exist.
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
  const description = fastify.swagger()
  await fastify.close()
  return JSON.parse(JSON.stringify(description))
}
