import { verify, X509Certificate } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Pem } from './certificate.ts'

/** An RSA key of 8192 bits signs with 1024 bytes, which is the most that a key of an accepted kind does. */
const MAX_SIGNATURE = 1366

/** Comes before the certificate in what is signed, so that the signature means nothing else. */
const PURPOSE = Buffer.from('relay-tracker rotation v1\n')

export const Signature = Type.String({
  pattern: '^[A-Za-z0-9_-]+$',
  maxLength: MAX_SIGNATURE,
  description: `base64url, of at most ${MAX_SIGNATURE} characters`
})

const Link = Type.Object({ certificate: Pem, signature: Signature })
export type Link = Static<typeof Link>

/** From an earlier certificate of a peer to its present one, oldest first: each is signed with the key of the one before. */
export const Rotations = Type.Array(Link, { minItems: 1, maxItems: 8 })

/**
 * Whether the key of a certificate signed that another one follows it: ECDSA with SHA-256 in ASN.1, RSA PKCS #1 v1.5 (or PSS, if the key is
 * for nothing else) with SHA-256, Ed25519 or Ed448.
 *
 * @param signer the certificate, in DER, that the caller of the tracker presents
 * @param next in DER
 */
export function isRotationSigned(signer: Buffer, next: Buffer, signature: Buffer): boolean {
  const { publicKey } = new X509Certificate(signer)
  const hash = /^ed/.test(String(publicKey.asymmetricKeyType)) ? null : 'sha256'
  try {
    return verify(hash, Buffer.concat([PURPOSE, next]), publicKey, signature)
  } catch {
    return false // an RSASSA-PSS key for another hash
  }
}
