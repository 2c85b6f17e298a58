import fc from 'fast-check'
import t from 'tap'
import { canonicalAddress } from '../../src/http/caller-address.ts'
import { parseCertificate } from '../../src/identity/certificate.ts'
import { validateAddresses } from '../../src/presence/addresses.ts'
import { ApiError, statusOf } from '../../src/runtime/error-catalogue.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { anything, pemLike, text } from '../support/arbitraries.ts'
import { fixture } from '../support/fixtures.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

/** Any input gives a result or an error of the contract. */
function isContractual(use: () => unknown) {
  try {
    use()
    return true
  } catch (error) {
    return (
      error instanceof ApiError && statusOf(error) === 400 && /^[a-z_]+$/.test(error.code) && !/\n/.test(error.message)
    )
  }
}

t.test('any text is a certificate or an error', async () => {
  fc.assert(
    fc.property(pemLike(fixture('p-256.crt')), (pem) => isContractual(() => parseCertificate(pem))),
    { numRuns: 3000 }
  )
})

t.test('any list of addresses is valid or an error', async (t) => {
  const literal = fc.oneof(fc.ipV4(), fc.ipV6())
  const anyAddress = fc.oneof(literal, fc.ipV4Extended(), fc.domain(), fc.string())
  fc.assert(
    fc.property(fc.array(anyAddress), anyAddress, (addresses, observed) =>
      isContractual(() => validateAddresses(addresses, canonicalAddress(observed)))
    ),
    { numRuns: 3000 }
  )
  fc.assert(
    fc.property(literal, (address) => {
      const accepted = (() => {
        try {
          return validateAddresses([address], '203.0.113.9')
        } catch {
          return []
        }
      })()
      t.same(validateAddresses(accepted, '203.0.113.9'), accepted, 'canonical form is stable')
    }),
    { numRuns: 300 }
  )
})

t.test('any request gets an answer of the contract', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const { certificate } = await createPeer('bob')
  const isAnswer =
    (...statuses: number[]) =>
    ({ status, body }: { status: number; body: Record<string, unknown> }) =>
      statuses.includes(status) && (status === 200 || (typeof body.error === 'string' && typeof body.code === 'string'))

  await fc.assert(
    fc.asyncProperty(text, async (email) =>
      isAnswer(200, 400, 409)(await relay.call('/register', { body: { email, certificate } }))
    ),
    { numRuns: 200 }
  )
  await fc.assert(
    fc.asyncProperty(text, async (email) => isAnswer(400, 404)(await relay.lookup(alice, email.toWellFormed()))),
    { numRuns: 200 }
  )
  const body = fc.oneof(
    anything,
    fc.record({ port: anything, addresses: anything, capabilities: anything }, { requiredKeys: [] }),
    fc
      .record({ capabilities: fc.dictionary(fc.string({ unit: 'binary' }), anything) })
      .map((more) => ({ ...ANNOUNCEMENT, ...more }))
  )
  await fc.assert(
    fc.asyncProperty(body, async (value) => isAnswer(200, 400)(await relay.ready(alice, JSON.stringify(value)))),
    { numRuns: 400 }
  )
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) =>
      isAnswer(400)(await relay.ready(alice, Buffer.from(bytes)))
    ),
    { numRuns: 100 }
  )
})
