import { isIP } from 'node:net'
import { hostname } from 'node:os'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ApiError } from '../runtime/error-catalogue.ts'

/** Top-level domains in which nobody can register a name: RFC 6761 and 6762, ICANN's for private use, Kubernetes's. */
const PRIVATE = ['localhost', 'local', 'internal', 'svc']

/**
 * Refuses, with 421, requests for a host name that anybody could have registered: through it, a web page could make its visitor's browser
 * read from a server that only the visitor can reach (DNS rebinding). An address or a private name does not allow that.
 *
 * `names` are other names that operators use, separated by commas; `.example.com` is every name below it.
 */
export default fp<{ names: string | undefined }>(
  async (fastify, { names = '' }) => {
    const allowed = [hostname(), ...names.split(',')].map((name) => name.trim().toLowerCase()).filter(Boolean)

    function isKnown(name: string) {
      if (isIP(name) || !name.includes('.')) return true
      if (PRIVATE.includes(name.slice(name.lastIndexOf('.') + 1))) return true
      return allowed.some((one) => (one.startsWith('.') ? name.endsWith(one) : name === one))
    }

    fastify.addHook('onRequest', async ({ raw }: FastifyRequest) => {
      // Browsers always send it; a health check with HTTP/1.0 need not.
      const { host = '' } = raw.headers
      const name = host
        .toLowerCase()
        .replace(/:\d*$/, '')
        .replace(/^\[(.*)\]$/, '$1')
        .replace(/\.$/, '')
      if (!isKnown(name))
        throw new ApiError('misdirected_request', {
          message: 'this server does not answer for that host: add it to INTERNAL_HOSTS'
        })
    })
  },
  { name: 'host-check', dependencies: ['error-handler'] }
)
