import fp from 'fastify-plugin'

/** An integer as JSON writes it. */
const INTEGER = /^(0|-?[1-9]\d*)$/

/**
 * Reads the query members that a route's schema declares as integers. Any other text stays text, which the validation refuses: Ajv's
 * own coercion would accept `1e3`, ` 1` and nothing at all.
 */
export default fp(
  async (fastify) => {
    fastify.addHook('onRoute', (route) => {
      const { properties = {} } = (route.schema?.querystring ?? {}) as {
        properties?: Record<string, { type?: string }>
      }
      const integers = Object.keys(properties).filter((name) => properties[name]?.type === 'integer')
      if (integers.length === 0) return
      const read = async ({ query }: { query: unknown }) => {
        const members = query as Record<string, unknown>
        for (const name of integers) {
          const value = members[name]
          if (typeof value === 'string' && INTEGER.test(value)) members[name] = Number(value)
        }
      }
      route.preValidation = [route.preValidation ?? [], read].flat()
    })
  },
  { name: 'query-integers' }
)
