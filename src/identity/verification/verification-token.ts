import { createHash, randomBytes } from 'node:crypto'

/** Bytes, too many to guess. */
const SIZE = 32

/** The secret in the link of a mail, which only its reader knows. */
export function createToken(): string {
  return randomBytes(SIZE).toString('base64url')
}

/** What is stored of it: its SHA-256, which reveals nothing. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
