import { Type } from 'typebox'
import { Fingerprint, Timestamp, VALID_EMAIL } from '../http/shared-schemas.ts'
import { Rotations } from '../identity/rotation-signature.ts'

export const Port = Type.Integer({ minimum: 1, maximum: 65535, description: 'an integer from 1 to 65535' })

export const Capabilities = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
  description: 'a JSON object'
})

export const ObservedAddress = Type.Union([Type.String(), Type.Null()], {
  description: 'where the edge saw the peer announce, whatever the peer claims; null if that was no IP address'
})

const ID = 'Broadcast'

/** To be added to the server, because `Broadcast` refers to it. */
export const BroadcastSchema = Type.Object(
  {
    email: Type.String(VALID_EMAIL),
    port: Port,
    addresses: Type.Array(Type.String(), { description: 'IPv4 and IPv6 addresses, as RFC 5952 writes them' }),
    observed_address: ObservedAddress,
    capabilities: Capabilities,
    fingerprint: {
      ...Fingerprint,
      description: 'SHA-256 of the DER of the certificate that the peer presents, in base64url (`x5t#S256` of RFC 8705)'
    },
    last_seen: { ...Timestamp, description: 'the time of the last announcement' },
    expires_at: { ...Timestamp, description: 'when the peer goes offline unless it announces again' },
    rotations: Type.Optional({
      ...Rotations,
      description:
        'in lookups alone, and only if there are any: the last signed rotations, at most 16 KiB, oldest first. Each certificate is signed ' +
        'with the key of the one before, and the last one is the present one'
    })
  },
  { $id: ID, description: 'A peer that is online.' }
)

/** Answers pass on the JSON that PostgreSQL wrote. */
export const Broadcast = Type.Unsafe<string>(Type.Ref(ID))
