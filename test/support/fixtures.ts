import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Any bytes as a CERTIFICATE block. */
export function toPem(bytes: Uint8Array) {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE-----`
}

export function fixture(name: string) {
  return readFileSync(join(import.meta.dirname, '../fixtures', name), 'utf8')
}
