import { createHash, randomBytes } from 'node:crypto'

/** Bytes, so that nobody guesses one. */
const SIZE = 32

/** What the link in a mail has, and nobody but its reader knows. */
export function createToken(): string {
  return randomBytes(SIZE).toString('base64url')
}

/** What is kept of it: SHA-256, from which nobody gets it back. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
