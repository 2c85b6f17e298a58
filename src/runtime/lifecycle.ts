import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { explainTaken } from './listen-port.ts'
import { logStart } from './log-options.ts'
import { startWatchdog } from './watchdog.ts'

/** Milliseconds for requests in flight to end after SIGTERM, of the 10 s that Compose grants. */
const GRACE = 8000

/** After these, the process is broken and must end at once. If they were caught, it would hang. */
const FATAL = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const

/**
 * Listens until SIGTERM or SIGINT, then accepts no new requests, finishes those in flight and exits. A process that hangs is killed.
 *
 * @param setting the setting with the port, named in the error
 * @throws Error if the port is taken
 */
export async function serve(fastify: FastifyInstance, host: string, port: number, setting = 'PORT') {
  logStart(fastify.log)
  startWatchdog()
  closeWithGrace({ delay: GRACE, logger: fastify.log, skip: [...FATAL] }, async ({ err }) => {
    if (err) fastify.log.fatal({ err }, 'unexpected error')
    await fastify.close()
  })
  try {
    await fastify.listen({ host, port })
  } catch (error) {
    await fastify.close()
    throw explainTaken(error, host, port, setting)
  }
}
