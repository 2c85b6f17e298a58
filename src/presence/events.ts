import type { FastifyPluginAsync } from 'fastify'
import { TAGS } from '../http/openapi/document.ts'
import { ALICE, BROADCAST, CURL_AS_BOB } from '../http/openapi/examples.ts'
import { content, header, type Operation } from '../http/openapi/operation.ts'

const EVENTS: Operation = {
  operationId: 'events',
  tags: [TAGS.broadcast],
  summary: 'Who is online, live',
  description: `[Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html): first \`list\`, with what the list call returns, then
\`online\` with a broadcast that is new or changed, and \`offline\` with \`{email}\`, whichever API process it happened at. A mere renewal is none.
A new \`list\` comes whenever something may have been missed, so that the last list and what followed it is always the truth.

Every 25 seconds there is a comment. The stream ends when the certificate is no longer in force, and when the process stops. Who
does not read is cut off.`,
  command: `${CURL_AS_BOB} --no-buffer $relay/broadcast/events`,
  certificate: 'registered',
  responses: {
    200: {
      description: 'The events. There is no end to them.',
      headers: { 'Cache-Control': header('kept nowhere', { const: 'no-store' }) },
      content: content(
        'text/event-stream',
        {
          alice: {
            summary: 'Alice comes, and goes',
            value: `retry: 3141

event: list
data: []

event: online
data: ${JSON.stringify(BROADCAST)}

event: offline
data: ${JSON.stringify({ email: ALICE.email })}

`
          }
        },
        { type: 'string' }
      )
    }
  }
}

/** `GET /broadcast/events`: who is online, live, as Server-Sent Events. */
const events: FastifyPluginAsync = async (fastify) => {
  const options = { exposeHeadRoute: false, config: { operation: EVENTS } }
  fastify.get('/broadcast/events', options, async (request, reply) => {
    const caller = request.caller()
    const { id: clientId, email } = await caller.identify()
    fastify.watch(reply, { clientId, email, fingerprint: caller.fingerprint })
    request.stopCounting()
  })
}

export default events
