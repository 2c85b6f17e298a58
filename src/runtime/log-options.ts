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

/** How a line looks to people. */
const PRETTY = {
  ignore: 'pid,hostname,method,route,path,status,durationMs',
  messageFormat: '{msg}{if status} {method} {route}{path} {status} {durationMs} ms{end}',
  singleLine: true,
  translateTime: 'SYS:HH:MM:ss.l'
}

/** Bytes of log lines kept while nobody reads them; any more are lost. */
const MAX_UNREAD = 4 * 1024 * 1024

/**
 * Where lines go: stdout, in JSON, or for who reads along on a terminal, in words. Bytes are gathered to be written at once, less than
 * that waits for milliseconds: to call the system for every line costs dearly.
 */
const DESTINATION = process.stdout.isTTY
  ? (await import('pino-pretty')).default(PRETTY)
  : pino.destination({ sync: false, minLength: 8192, periodicFlush: 100, maxLength: MAX_UNREAD })

/** Leaves requests to the plugin `request-log`, which writes one line for each; here is what else goes wrong with an answer. */
class FailureLog extends LogController {
  override incomingRequest() {}
  override requestCompleted() {}
  override streamError(error: Error & { code?: string }, request: FastifyRequest, reply: FastifyReply) {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') super.streamError(error, request, reply)
  }
}

/** Fastify's options for the log and the ids of requests. Of an error a line has no more than this: its detail would be a row. */
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
