import { createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto'
import { type Credentials, fingerprintOf } from './identity.ts'

/** A certificate that the key of the one before it has signed. */
export interface Rotation {
  /** PEM. */
  certificate: string
  /** base64url. */
  signature: string
}

/** Makes the signature useless for any other purpose. */
const CONTEXT = Buffer.from('relay-tracker rotation v1\n')

/** The current key's signature over the next certificate, for the tracker and for peers that know the current one. */
export function signRotation(current: Credentials, next: Credentials): string {
  const key = createPrivateKey(current.privateKey)
  return sign(digestFor(key), message(next.certificate), key).toString('base64url')
}

/**
 * Whether each key has signed the next certificate, from a known one to the current one.
 *
 * @param known what is known of the peer; if this is only a fingerprint, the chain has to contain its certificate
 * @param current the fingerprint of its current certificate, according to the tracker
 */
export function isSuccessor(
  known: { fingerprint: string; certificate?: string | undefined },
  current: string,
  rotations: Rotation[] = []
): boolean {
  try {
    return isChain(known, current, rotations)
  } catch {
    return false // what the tracker sent is not a chain
  }
}

function isChain(
  known: { fingerprint: string; certificate?: string | undefined },
  current: string,
  rotations: Rotation[]
) {
  const certificates = rotations.map(({ certificate }) => certificate)
  const fingerprints = certificates.map((pem) => fingerprintOf(new X509Certificate(pem).raw))
  const start = fingerprints.lastIndexOf(known.fingerprint) + 1
  const links = rotations.slice(start)
  const signers = [start === 0 ? known.certificate : certificates[start - 1], ...certificates.slice(start)]
  return (
    fingerprints.at(-1) === current &&
    links.length > 0 &&
    links.every(({ certificate, signature }, index) => isSigned(certificate, signature, signers[index]))
  )
}

function isSigned(certificate: string, signature: string, signer: string | undefined): boolean {
  if (signer === undefined) return false
  const { publicKey } = new X509Certificate(signer)
  return verify(digestFor(publicKey), message(certificate), publicKey, Buffer.from(signature, 'base64url'))
}

/** Ed25519 and Ed448 have their own. */
function digestFor({ asymmetricKeyType }: KeyObject) {
  return String(asymmetricKeyType).startsWith('ed') ? null : 'sha256'
}

function message(certificate: string) {
  return Buffer.concat([CONTEXT, new X509Certificate(certificate).raw])
}
