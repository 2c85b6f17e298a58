import Fastify from 'fastify'
import app from '../app.ts'
import { serverOptions } from '../http/server-options.ts'
import { loadConfig } from '../runtime/config.ts'
import { serve } from '../runtime/lifecycle.ts'
import { run } from '../runtime/main-function.ts'

/** `npm run api` */
await run(async () => {
  const config = await loadConfig()
  const fastify = Fastify(serverOptions(config))
  fastify.register(app, { config })
  await serve(fastify, config.HOST, config.PORT)
})
