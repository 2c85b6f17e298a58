import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyServerOptions, RawServerDefault } from 'fastify'
import type { Config } from '../runtime/config.ts'
import { ERRORS, type ErrorCode } from '../runtime/error-catalogue.ts'
import { logOptions } from '../runtime/log-options.ts'
import { REQUEST_ID_HEADER } from '../runtime/request-id.ts'
import { sendError } from './error-handler.ts'
import { logRequest } from './request-log.ts'
import { schemaErrorFormatter } from './schema-errors.ts'

/** Bytes, as nginx's client_max_body_size. The largest request is a registration: 8 KiB of PEM, as JSON. */
const BODY_LIMIT = 16 * 1024
/** Milliseconds for a whole request to arrive, and for the TLS handshake before it. */
const REQUEST_TIMEOUT = 10_000
/** By default Node.js applies its headersTimeout of a minute to the whole request, and checks only every 30 s. */
const TIMEOUTS = { requestTimeout: REQUEST_TIMEOUT, headersTimeout: REQUEST_TIMEOUT, connectionsCheckingInterval: 1000 }

/** Nothing is coerced, and errors have the catalogue's codes. */
export const VALIDATION = {
  ajv: { customOptions: { coerceTypes: false, removeAdditional: false, verbose: true, keywords: ['x-examples'] } },
  schemaErrorFormatter
} satisfies FastifyServerOptions

/** The options of the HTTP server: limits, and direct TLS or a trusted edge. */
export function serverOptions(config: Config) {
  return {
    ...logOptions(config),
    https: config.tls
      ? {
          ...TIMEOUTS,
          cert: config.tls.cert,
          key: config.tls.key,
          requestCert: true,
          rejectUnauthorized: false,
          handshakeTimeout: REQUEST_TIMEOUT,
          minVersion: 'TLSv1.2'
        }
      : null,
    http: TIMEOUTS,
    // With direct TLS there is no edge whose headers could be trusted.
    trustProxy: config.tls ? false : config.isTrustedProxy,
    bodyLimit: BODY_LIMIT,
    return503OnClosing: false, // requests in flight are still served; Fastify's own 503 has no code
    requestTimeout: REQUEST_TIMEOUT,
    ...VALIDATION,
    frameworkErrors(error, request, reply) {
      logRequest(request, reply)
      sendError(error, request, reply)
    },
    clientErrorHandler
  } satisfies FastifyServerOptions & { https: object | null; http: object } as FastifyServerOptions<RawServerDefault>
}

/** By Node.js's code; all others are `bad_request`. */
const CLIENT_ERRORS: Record<string, ErrorCode> = {
  HPE_HEADER_OVERFLOW: 'request_header_fields_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout'
}

/** Answers what Node.js cannot read as an HTTP request. */
function clientErrorHandler(this: FastifyInstance, error: Error & { code?: string }, socket: Socket) {
  // Without a handshake nobody can read an answer, and the connection would stay open to send it.
  const isUnreadable = ['ECONNRESET', 'ERR_TLS_HANDSHAKE_TIMEOUT'].includes(String(error.code))
  if (!socket.writable || isUnreadable) return socket.destroy()
  const code = CLIENT_ERRORS[String(error.code)] ?? 'bad_request'
  const { status } = ERRORS[code]
  const reason = STATUS_CODES[status] as string
  const requestId = randomUUID()
  this.log.info({ requestId, status, code }, 'request completed')
  const body = JSON.stringify({ error: `the request could not be read: ${reason.toLowerCase()}`, code })
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n${REQUEST_ID_HEADER}: ${requestId}\r\n\r\n${body}`
  )
}
