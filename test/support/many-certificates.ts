import { X509Certificate } from 'node:crypto'
import { toPem } from './fixtures.ts'
import { createPeer } from './peers.ts'

/** Different certificates as PEM: one with many serial numbers, since making as many keys takes long. */
export async function* manyCertificates(count: number): AsyncGenerator<string> {
  const { raw, serialNumber } = new X509Certificate((await createPeer()).certificate)
  const serial = Buffer.from(serialNumber, 'hex')
  const end = raw.indexOf(serial) + serial.length
  for (let n = 1; n <= count; n++) {
    raw.writeUInt32BE(n, end - 4)
    yield toPem(raw)
  }
}
