import fc from 'fast-check'
import { decodePem } from '../../src/identity/certificate.ts'
import { toPem } from './fixtures.ts'

// For the property-based tests and the fuzzer.

export const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.emailAddress())

export const anything = fc.oneof(
  fc.jsonValue(),
  fc.jsonValue({ stringUnit: 'binary' }),
  fc.double(),
  fc.maxSafeInteger()
)

/** A text with a few deletions, replacements and insertions from `inserted`. */
export function edits(inserted: fc.Arbitrary<string>) {
  const list = fc.array(fc.tuple(fc.nat(), fc.nat(40), inserted), { minLength: 1, maxLength: 4 })
  return list.map((edits) => (original: string) => {
    return edits.reduce((text, [place, length, insertion]) => {
      const at = place % (text.length + 1)
      return text.slice(0, at) + insertion + text.slice(at + length)
    }, original)
  })
}

/** Overwrites some bytes. */
export const damage = fc
  .array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
  .map((list) => (original: Uint8Array) => {
    const bytes = Buffer.from(original)
    for (const [at, value] of list) bytes[at % bytes.length] = value
    return bytes
  })

/** What somebody may send as a certificate: this one edited, its DER damaged, or anything else. */
export function pemLike(good: string) {
  const der = decodePem(good) as Buffer
  return fc.oneof(
    text,
    edits(fc.string({ maxLength: 20 })).map((edit) => edit(good)),
    damage.map((harm) => toPem(harm(der))),
    fc.uint8Array().map(toPem)
  )
}
