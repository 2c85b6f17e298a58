import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { explainTaken } from './listen-port.ts'
import { logStart } from './log-options.ts'
import { startWatchdog } from './watchdog.ts'

/** Milliseconds for requests in flight to end after SIGTERM: less than the 10 s that Compose grants. */
const GRACE = 8000

/** The process is broken and has to end at once to be restarted. If these were caught, it would hang. */
const FATAL = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const

/**
 * Listens until SIGTERM or SIGINT, then accepts no new requests, finishes those in flight and exits. The watchdog ends a process that hangs.
 *
 * @param setting the setting with the port, for the message when that is taken
 * @throws Error when the port is taken
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
