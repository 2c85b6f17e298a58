import { createHash, randomBytes } from 'node:crypto'

/** Bytes, too many to guess. */
const SIZE = 32

/** The secret in a mail's link, known only to its reader. */
export function createToken(): string {
  return randomBytes(SIZE).toString('base64url')
}

/** What is stored of it: its SHA-256, which reveals nothing. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
