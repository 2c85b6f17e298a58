import { hash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { decodePem } from '../../src/identity/certificate.ts'
import { EDGE_FORMATS, type EdgeFormat, type EdgeFormatName } from '../../src/identity/client-certificate.ts'
import { ANNOUNCEMENT, startApi } from '../support/api.ts'
import { edits } from '../support/arbitraries.ts'
import { createDatabase } from '../support/database.ts'
import { FORMAT_NAMES, headerOf, headerValue } from '../support/edge-headers.ts'
import { fixture, toPem } from '../support/fixtures.ts'
import { createPeer } from '../support/peers.ts'

const alice = { certificate: fixture('rsa-2048.crt') }
const mallory = { certificate: fixture('ed25519.crt') }
const derOf = ({ certificate }: { certificate: string }) => decodePem(certificate) as Buffer
const decode = (format: EdgeFormatName, value: string) => EDGE_FORMATS[format].decode(value)

/** Formats that are the same without a chain. */
const ALIKE: EdgeFormatName[][] = [
  ['nginx', 'alb'],
  ['der-base64', 'traefik']
]

for (const format of FORMAT_NAMES) {
  const good = headerValue(format, alice)

  t.test(`${format}: a certificate of any bytes is read as it was written`, async (t) => {
    t.same(decode(format, good), derOf(alice))
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 4000 }), (bytes) =>
        decode(format, headerValue(format, { certificate: `${toPem(bytes)}\n` }))?.equals(bytes)
      )
    )
  })

  t.test(`${format}: a repeated header, as Node joins it, is refused`, async (t) => {
    const other = headerValue(format, mallory)
    for (const value of [`${good}, ${other}`, `${other}, ${good}`, `${good}, ${good}`, `${good},`, `, ${good}`]) {
      t.equal(decode(format, value), undefined)
    }
  })

  t.test(`${format}: anything that such an edge does not write is refused without an error`, async (t) => {
    const alike = ALIKE.find((names) => names.includes(format)) ?? [format]
    for (const value of [
      ...[
        '',
        '%',
        '%E0%A4%A',
        ',',
        ':',
        '::',
        ':=:',
        ';',
        '=',
        '"',
        '""',
        '(null)',
        'Cert=',
        'Cert=""',
        '-'.repeat(12_000)
      ],
      ...[good.slice(1), good.slice(0, -2), `${good}A`, `${good};`, `${good}"`, good.replace('A', '!')],
      ...FORMAT_NAMES.filter((name) => !alike.includes(name)).map((name) => headerValue(name, alice))
    ]) {
      t.equal(decode(format, value), undefined, value.slice(0, 60))
    }
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          edits(fc.string({ maxLength: 20 })).map((edit) => edit(good))
        ),
        (value) => {
          const der = decode(format, value)
          return der === undefined || der.length > 0
        }
      ),
      { numRuns: 2000 }
    )
  })
}

t.test(
  'traefik and alb: the first certificate of a chain counts, and the others have to be certificates',
  async (t) => {
    for (const format of ['traefik', 'alb'] as const) {
      t.same(decode(format, headerValue(format, alice, mallory)), derOf(alice), format)
      t.same(decode(format, headerValue(format, mallory, alice, mallory)), derOf(mallory), format)
      const chain = headerValue(format, alice, mallory)
      t.equal(decode(format, chain.slice(0, -30)), undefined, `${format}: the last one cut off`)
    }
    // Traefik escapes up to version 2.
    t.same(decode('traefik', encodeURIComponent(headerValue('traefik', alice))), derOf(alice))
  }
)

t.test('alb: a header may have more escapes than AWS documents', async (t) => {
  t.same(decode('alb', encodeURIComponent(alice.certificate)), derOf(alice))
})

t.test('der-base64: a header may be quoted', async (t) => {
  const value = headerValue('der-base64', alice)
  t.same(decode('der-base64', `"${value}"`), derOf(alice))
  t.equal(decode('der-base64', `"${value}`), undefined)
})

t.test('rfc9440: parameters are refused, because the field has none', async (t) => {
  t.equal(decode('rfc9440', `${headerValue('rfc9440', alice)};a=1`), undefined)
})

t.test('xfcc: other pairs are skipped, in any order and case, as Envoy documents', async (t) => {
  const element = headerValue('xfcc', alice)
  const subject = String.raw`Subject="/C=US/ST=CA/L=San Francisco/OU=\"Lyft\", Inc.;x=y/CN=Test Client"`
  for (const value of [
    `By=http://frontend.lyft.com;${element};${subject};URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com`,
    `${subject};${element};By=`,
    element.replace('Hash', 'hash').replace('Cert', 'CERT'),
    element.replaceAll('"', '')
  ]) {
    t.same(decode('xfcc', value), derOf(alice), value.slice(0, 60))
  }
  for (const value of [
    `By=http://a;${element},By=http://b;${element}`,
    `${element},${subject}`,
    `${element};${element}`,
    `${element};Hash=a`,
    `${element};Cert=a`,
    `${element};${subject.slice(0, -1)}`,
    element.split(';').at(0) as string,
    element.split(';').at(1) as string,
    headerValue('xfcc', mallory).replace(/;.*/, element.replace(/^[^;]*/, ''))
  ]) {
    t.equal(decode('xfcc', value), undefined, value.slice(-60))
  }
})

t.test('xfcc: no name in a certificate can pass for another certificate', async () => {
  const [{ certificate }, victim] = [mallory, headerValue('xfcc', alice)]
  const own = `Hash=${hash('sha256', derOf({ certificate }), 'hex')}`
  const name = fc.oneof(fc.string(), fc.constantFrom(victim, `x;${victim}`, `x,${victim}`, `";${victim};a="`))
  const more = edits(fc.constantFrom('"', '\\"', ';', ',', 'Hash=', 'Cert=', '='))
  fc.assert(
    fc.property(fc.constantFrom('URI', 'DNS'), name, more, fc.boolean(), (key, text, edit, withCert) => {
      const element = withCert ? headerValue('xfcc', mallory) : own
      const der = decode('xfcc', `${element};${key}=${edit(text)}`)
      return der === undefined || der.equals(derOf(mallory))
    }),
    { numRuns: 3000 }
  )
})

t.test('a peer works behind every kind of edge, and only the configured header counts', async (t) => {
  for (const format of FORMAT_NAMES) {
    const { url: database } = await createDatabase(t)
    const { relay } = await startApi(t, {
      database,
      env: { CLIENT_CERT_FORMAT: format, REGISTRATION_PROOF: 'required' }
    })
    const peer = await createPeer('peer')
    const headers = headerOf(format, peer)
    t.match(await relay.register(peer), { status: 403, body: { code: 'proof_required' } }, format)
    t.match(await relay.register(peer, { headers }), { status: 200 }, format)
    t.match(await relay.call('/broadcast/ready', { headers, body: ANNOUNCEMENT }), { status: 200 }, format)
    t.match(await relay.call(`/broadcast/lookup?email=${peer.email}`, { headers }), {
      status: 200,
      body: { ...ANNOUNCEMENT, fingerprint: peer.fingerprint }
    })
    const others = FORMAT_NAMES.filter((other) => other !== format).map((other) => headerOf(other, peer))
    t.match(await relay.call('/broadcast/list', { headers: Object.assign({}, ...others) }), {
      status: 401,
      body: { code: 'certificate_required' }
    })
    const value = headerValue(format, peer)
    for (const bad of ['', 'x', [value, value]]) {
      const forged = { [EDGE_FORMATS[format].header]: bad }
      t.match(await relay.call('/broadcast/list', { headers: forged }), {
        status: 401,
        body: { error: 'the client certificate could not be read', code: 'invalid_certificate' }
      })
    }
  }
})

t.test('each kind of edge may refuse certain certificates, which then have to be proven', async (t) => {
  const kinds = { rsa: 'rsa', pss: 'rsa-pss', ec: 'ec', ed25519: 'ed25519', ed448: 'ed448' }
  const refused = (format: EdgeFormatName) => {
    const { mayRefuse = () => false }: EdgeFormat = EDGE_FORMATS[format]
    const of = (keyType: string, hasUnhandledExtension = false, hasInvalidPrintableString = false) =>
      mayRefuse({ keyType, hasUnhandledExtension, hasInvalidPrintableString })
    return [
      ...Object.entries(kinds).filter(([, keyType]) => of(keyType)),
      ...(of('ec', true) ? [['unusual']] : []),
      ...(of('ec', false, true) ? [['loose']] : [])
    ]
      .map(([name]) => name)
      .join()
  }
  t.same(Object.fromEntries(FORMAT_NAMES.map((format) => [format, refused(format)])), {
    nginx: '',
    rfc9440: 'pss,ed448,loose',
    'der-base64': 'unusual',
    traefik: 'pss,ed448,loose',
    xfcc: 'pss,ed25519,ed448,loose',
    alb: 'pss,ed25519,ed448,loose'
  })
})

t.test('a header longer than any certificate is not even read', async (t) => {
  const { relay } = await startApi(t)
  const peer = await createPeer('peer')
  await relay.register(peer)
  const value = headerValue('nginx', peer)
  const room = Math.floor((12 * 1024 - value.length) / '%0A'.length)
  const padded = (lines: number) => ({ 'x-ssl-cert': value + '%0A'.repeat(lines) })
  t.match(await relay.call('/broadcast/list', { headers: padded(room) }), { status: 200 })
  t.match(await relay.call('/broadcast/list', { headers: padded(room + 1) }), {
    status: 401,
    body: { code: 'certificate_too_large' }
  })
})
