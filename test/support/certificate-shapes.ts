import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { fingerprintOf } from '../../src/identity/certificate.ts'

const FOLDER = join(import.meta.dirname, '../fixtures/certificates')

/** A certificate that some tool made, or that no tool should make (`odd`), with its key. */
export interface Shape {
  /** From the file's path: `openssl/server-auth`. */
  name: string
  email: string
  certificate: string
  privateKey: string
  fingerprint: string
  /** Whether OpenSSL can use it at all. */
  isUsable: boolean
}

/** All certificates in fixtures/certificates, where the Dockerfile shows how they are made. */
export function readShapes(): Shape[] {
  return readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.pem'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(FOLDER, file), 'utf8')
      const [privateKey, certificate] = text.split(/(?=-----BEGIN CERTIFICATE)/) as [string, string]
      const name = file.replace('.pem', '')
      const der = Buffer.from(certificate.replaceAll(/-----.*?-----/g, ''), 'base64')
      return {
        name,
        email: `${name.replaceAll(/[^a-z0-9]+/g, '-')}@example.com`,
        certificate,
        privateKey,
        fingerprint: fingerprintOf(der),
        isUsable: isUsable(certificate, privateKey)
      }
    })
}

/** The certificate with this name. */
export function readShape(name: string): Shape {
  const shape = readShapes().find((shape) => shape.name === name)
  if (!shape) throw new Error(`there is no certificate ${name}`)
  return shape
}

function isUsable(cert: string, key: string) {
  try {
    createSecureContext({ cert, key })
    return true
  } catch {
    return false
  }
}
