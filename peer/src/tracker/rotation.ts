import { isCertificateUnknown, isWrongClock, TrackerError } from '../errors.ts'
import type { Credentials, Identity } from '../identity/identity.ts'
import { signRotation } from '../identity/rotation-chain.ts'
import type { Tracker } from './tracker.ts'

/** Rotation is due when this fraction of the lifetime is left. */
const LAST_PART = 1 / 3

/** Whether it is time to replace a certificate. @param now by the tracker's clock */
export function isRotationDue({ notBefore, notAfter }: Credentials, now: number): boolean {
  return notAfter.getTime() - now < LAST_PART * (notAfter.getTime() - notBefore.getTime())
}

/**
 * Replaces key and certificate, and continues a rotation that a crash or another process left unfinished. Even if it is
 * interrupted, the folder has a certificate that the tracker knows.
 *
 * @returns the valid credentials
 * @throws TrackerError, PeerError `identity_not_saved`
 */
export async function rotate(identity: Identity, tracker: Tracker, signal?: AbortSignal): Promise<Credentials> {
  try {
    return await rotateOnce(identity, tracker, signal)
  } catch (error) {
    if (!isWrongClock(error)) throw error
    return rotateOnce(identity, tracker, signal) // the answer has told the time
  }
}

async function rotateOnce(identity: Identity, tracker: Tracker, signal?: AbortSignal): Promise<Credentials> {
  const current = identity.credentials
  const next = await identity.makeNext(tracker.now())
  try {
    await tracker.proposeCertificate(next, signRotation(current, next), signal)
  } catch (error) {
    const isRefused = error instanceof TrackerError && [400, 409].includes(error.status)
    if (!isRefused && !isCertificateUnknown(error)) throw error
    if (isRefused && (await isAccepted(current, tracker, signal))) {
      identity.discardNext(next)
      throw error
    }
  }
  await tracker.certificate({ as: next, signal })
  return identity.promote(next)
}

/**
 * Looks for a certificate that the tracker knows, when it does not know the one in use: another process may have rotated, or have
 * crashed while rotating.
 *
 * @param unknown the fingerprint that the tracker refused
 * @returns whether another certificate is in use now
 */
export async function recover(
  identity: Identity,
  tracker: Tracker,
  unknown: string,
  signal?: AbortSignal
): Promise<boolean> {
  if (identity.refresh().fingerprint !== unknown) return true
  const next = identity.next()
  if (next && (await isAccepted(next, tracker, signal))) identity.promote(next)
  // Another process may have put yet another one to use.
  return identity.refresh().fingerprint !== unknown
}

/** Whether the tracker accepts the certificate. This call makes a proposed one valid. */
async function isAccepted(credentials: Credentials, tracker: Tracker, signal?: AbortSignal): Promise<boolean> {
  try {
    await tracker.certificate({ as: credentials, signal })
    return true
  } catch (error) {
    if (isCertificateUnknown(error)) return false
    throw error
  }
}
