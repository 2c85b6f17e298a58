import type { FastifyPluginAsync, FastifySchema } from 'fastify'
import { Type } from 'typebox'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../http/openapi-examples.ts'
import { answer, header } from '../http/shared-schemas.ts'

const EXAMPLE = `retry: 3141

event: list
data: []

event: online
data: ${JSON.stringify(BROADCAST)}

event: offline
data: ${JSON.stringify({ email: ALICE.email })}

`

const schema = {
  operationId: 'events',
  tags: ['Broadcast'],
  summary: 'Who is online, live',
  description: `[Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html): first \`list\`, with what the list call returns,
each peer in a \`data\` line of its own, so that nobody has to hold a long list; then \`online\` with a broadcast that is new or has changed
(a mere renewal is no event), and \`offline\` with \`{email}\`. Whenever something may have been missed, a new \`list\` is sent: the last
list and the events after it are always the truth.

A comment is sent every 25 seconds. The stream ends when the certificate is no longer valid or the process stops. A client that
does not read is disconnected.`,
  command: `${CURL_AS_BOB} --no-buffer $relay/broadcast/events`,
  response: {
    200: answer(
      'The events, without end.',
      { type: 'string' },
      { alice: EXAMPLE },
      { type: 'text/event-stream', headers: { 'Cache-Control': header('stored nowhere', Type.Literal('no-store')) } }
    )
  }
} satisfies FastifySchema

/** `GET /broadcast/events`: who is online, live, as Server-Sent Events. */
const events: FastifyPluginAsync = async (fastify) => {
  fastify.get('/broadcast/events', { schema, exposeHeadRoute: false }, async (request, reply) => {
    const caller = request.caller()
    const { id: clientId, email } = await caller.identify()
    fastify.watch(reply, { clientId, email, fingerprint: caller.fingerprint })
    request.stopCounting()
  })
}

export default events
