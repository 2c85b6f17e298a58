import packageJson from '../../../package.json' with { type: 'json' }
import { RESPONSES } from './responses.ts'

export const TAGS = {
  registration: 'Registration',
  certificate: 'Certificate',
  broadcast: 'Broadcast',
  email: 'Verified e-mail'
}

const DESCRIPTION = `The rendezvous service by which the peers of a peer-to-peer application find each other. A peer owns a self-signed
certificate, registers it once with its e-mail address, announces where it listens, and looks others up. Peers then connect to
each other directly: the tracker carries none of their traffic, and knows no heartbeat.

**Who calls** is said by the certificate that the TLS handshake presents, and by nothing else. It has to be registered and inside
its validity period with every request, also within one connection.

**JSON** in UTF-8 goes in and out. It has to mean the same to everyone ([RFC 7493](https://www.rfc-editor.org/rfc/rfc7493)): a
member twice, half a character, or a number beyond a double is \`bad_request\`. So is more than 33 levels of nesting. A request
has 10 seconds to arrive and at most 16 KiB of body; an address and a header have at most 8 KiB.

**Every error** is \`{"error": "in words", "code": "for_programs"}\`, also where the edge refuses. The words may change, and differ
between the edge and the API; the codes stay. \`HEAD\` works wherever \`GET\` does, but for events.

**Pace:** one address may have 100 requests a second (200 at once), 30 registrations a minute (60 at once) and 100 connections
with a request under way; the operator can change that. What is more is 429 with \`Retry-After\`.

**The examples** are what the tracker's tests send and get. Commands want \`relay\` and \`ca\` as in the README, and certificates made by
\`npm run certificate\`.`

const ERROR = {
  description: 'Every error.',
  type: 'object',
  properties: {
    error: { type: 'string', description: 'what is wrong, in words for the caller; may change' },
    code: { type: 'string', description: 'stable, for programs to compare' }
  },
  required: ['error', 'code'],
  additionalProperties: false
}

/**
 * The description of the API, without its calls.
 *
 * @param publicUrl where peers reach the tracker: `https://relay.example.com`
 */
export function createDocument(publicUrl = 'https://localhost') {
  return {
    openapi: '3.1.1',
    info: {
      title: 'Relay Tracker',
      version: packageJson.version,
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' }
    },
    servers: [{ url: `${publicUrl}/api/relay` }],
    tags: [
      { name: TAGS.registration, description: 'Whose certificate it is.' },
      { name: TAGS.certificate, description: 'The certificate in force, and the one that is to follow it.' },
      { name: TAGS.broadcast, description: 'Who is online, and where.' },
      { name: TAGS.email, description: 'Pages for browsers, where the operator wants e-mail addresses confirmed.' }
    ],
    components: {
      securitySchemes: {
        certificate: {
          type: 'mutualTLS',
          description: 'A self-signed certificate: the handshake proves that the caller holds its key.'
        }
      },
      schemas: { Error: ERROR },
      responses: RESPONSES
    }
  }
}
