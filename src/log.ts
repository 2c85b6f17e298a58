import { type FastifyError, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import pino from 'pino'
import type { Config } from './config.ts'

/** Bytes that are written at once, and milliseconds that less than that waits: to call the system for every line costs dearly. */
const DESTINATION = pino.destination({ sync: false, minLength: 8192, periodicFlush: 100 })

/** Logs a request in one line, when it was answered. */
class RequestLog extends LogController {
  override incomingRequest() {}

  override requestCompleted(err: Error | null | undefined, req: FastifyRequest, res: FastifyReply) {
    req.log.info({ req, res, responseTime: res.elapsedTime, err: err ?? undefined }, 'request completed')
  }
}

/**
 * Fastify's options for the log: to stdout, in JSON. Of a request, its answer and an error it has the certificate's fingerprint;
 * never a query, a body, a certificate or a row.
 */
export function logOptions({ LOG_LEVEL }: Config) {
  return {
    logController: new RequestLog(),
    logger: {
      level: LOG_LEVEL,
      stream: DESTINATION,
      serializers: {
        req: (request: { method: string; url: string; ip: string }) => ({
          method: request.method,
          path: request.url.split('?', 1)[0],
          ip: request.ip
        }),
        res: ({ statusCode, request }: { statusCode: number; request?: { fingerprint?: string } }) => ({
          statusCode,
          fingerprint: request?.fingerprint
        }),
        err: ({ name, code, message, stack }: FastifyError) => ({ type: name, code, message, stack: stack as string })
      }
    }
  }
}
