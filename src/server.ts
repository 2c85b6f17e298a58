import Fastify from 'fastify'
import app from './app.ts'
import { loadConfig } from './config.ts'
import { run, serve } from './process.ts'
import { serverOptions } from './server-options.ts'

/** `npm run api` */
await run(async () => {
  const config = await loadConfig()
  const fastify = Fastify(serverOptions(config))
  fastify.register(app, { config })
  await serve(fastify, config.HOST, config.PORT)
})
