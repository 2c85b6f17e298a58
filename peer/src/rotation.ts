import { isCertificateUnknown, TrackerError } from './errors.ts'
import type { Credentials, Identity } from './identity.ts'
import type { Tracker } from './tracker.ts'

/** The part of its lifetime that a certificate has left when it is time for the next one. */
const LAST_PART = 1 / 3

/** Whether a certificate should be followed by the next one. */
export function isRotationDue({ notBefore, notAfter }: Credentials, now = Date.now()): boolean {
  return notAfter.getTime() - now < LAST_PART * (notAfter.getTime() - notBefore.getTime())
}

/**
 * Replaces key and certificate, and goes on with what a crash or another process left half done. Whenever it breaks off, the
 * folder has a certificate that the tracker knows: the old one until the new one was accepted, and then both.
 *
 * @returns the credentials in force
 * @throws TrackerError
 */
export async function rotate(identity: Identity, tracker: Tracker, signal?: AbortSignal): Promise<Credentials> {
  const current = identity.credentials
  const next = await identity.makeNext()
  try {
    await tracker.proposeCertificate(next, signal)
  } catch (error) {
    const isRefused = error instanceof TrackerError && [400, 409].includes(error.status)
    if (!isRefused && !isCertificateUnknown(error)) throw error
    // Unless another process has just put it in force, and only this folder does not know.
    if (isRefused && (await isInForce(current, tracker, signal))) {
      // Such as one that has expired since it was made: the next attempt makes another.
      identity.discardNext(next)
      throw error
    }
  }
  await tracker.certificate({ as: next, signal })
  return identity.promote(next)
}

/**
 * Finds the certificate that the tracker knows when it does not know the one in use: another process may have changed it, or
 * have ended in the midst of that.
 *
 * @param unknown the fingerprint of the one that the tracker refused
 * @returns whether there is another one now
 */
export async function recover(
  identity: Identity,
  tracker: Tracker,
  unknown: string,
  signal?: AbortSignal
): Promise<boolean> {
  if (identity.refresh().fingerprint !== unknown) return true
  const next = identity.next()
  if (next && (await isInForce(next, tracker, signal))) identity.promote(next)
  // Even if that one is not in force, for one after it may be by now.
  return identity.refresh().fingerprint !== unknown
}

/** Whether the tracker knows it; it also puts it in force where it was only proposed. */
async function isInForce(credentials: Credentials, tracker: Tracker, signal?: AbortSignal): Promise<boolean> {
  try {
    await tracker.certificate({ as: credentials, signal })
    return true
  } catch (error) {
    if (isCertificateUnknown(error)) return false
    throw error
  }
}
