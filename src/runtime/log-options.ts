import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyReply,
  type FastifyRequest,
  LogController
} from 'fastify'
import pino from 'pino'
import type { Config } from './config.ts'
import { createRequestIds } from './request-id.ts'
import { VERSION } from './version.ts'

/** A line on a terminal. */
const PRETTY = {
  ignore: 'pid,hostname,method,route,path,status,durationMs',
  messageFormat: '{msg}{if status} {method} {route}{path} {status} {durationMs} ms{end}',
  singleLine: true,
  translateTime: 'SYS:HH:MM:ss.l'
}

/** Bytes of log lines kept while nobody reads them; further lines are lost. */
const MAX_UNREAD = 4 * 1024 * 1024

/** Lines go to stdout, as JSON or, on a terminal, as text. They are gathered for a moment, because a system call for each is expensive. */
const DESTINATION = process.stdout.isTTY
  ? (await import('pino-pretty')).default(PRETTY)
  : pino.destination({ sync: false, minLength: 8192, periodicFlush: 100, maxLength: MAX_UNREAD })

/** Leaves requests to `http/request-log.ts`, which writes one line for each. */
class FailureLog extends LogController {
  override incomingRequest() {}
  override requestCompleted() {}
  override streamError(error: Error & { code?: string }, request: FastifyRequest, reply: FastifyReply) {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') super.streamError(error, request, reply)
  }
}

/** Fastify's options for the log and request ids. Few members of an error are logged: a PostgreSQL error's detail contains a row. */
export function logOptions({ LOG_LEVEL, tls, isTrustedProxy }: Config) {
  return {
    logController: new FailureLog({ requestIdLogLabel: 'requestId' }),
    genReqId: createRequestIds(tls ? () => false : isTrustedProxy),
    logger: {
      level: LOG_LEVEL,
      stream: DESTINATION,
      serializers: {
        err: ({ name, code, message, stack }: FastifyError) => ({ type: name, code, message, stack: stack as string })
      }
    }
  }
}

/** The first line of a process's log. */
export function logStart(log: FastifyBaseLogger) {
  log.info({ version: VERSION, node: process.version }, `relay-tracker ${VERSION}`)
}
