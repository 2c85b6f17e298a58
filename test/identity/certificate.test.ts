import 'reflect-metadata' // @peculiar/x509 needs it first
import { execFileSync } from 'node:child_process'
import { webcrypto, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as x509 from '@peculiar/x509'
import t from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { decodePem, fingerprintOf, parseCertificate } from '../../src/identity/certificate.ts'
import { type ApiError, statusOf } from '../../src/runtime/error-catalogue.ts'
import { fixture, toPem } from '../support/fixtures.ts'

function codeOf(pem: string) {
  try {
    parseCertificate(pem)
    return 'accepted'
  } catch (error) {
    t.match(error, { message: /^certificate / })
    t.equal(statusOf(error as ApiError), 400)
    return (error as { code: string }).code
  }
}

const good = fixture('p-256.crt')

/** A certificate with this extension. */
async function withExtension(extension: x509.Extension) {
  const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = (await webcrypto.subtle.generateKey(signingAlgorithm, true, [
    'sign',
    'verify'
  ])) as webcrypto.CryptoKeyPair
  const options = { name: 'CN=extended', keys, signingAlgorithm, extensions: [extension] }
  return (await x509.X509CertificateGenerator.createSelfSigned(options)).toString('pem')
}

t.test('strong keys are accepted, weak ones refused', async (t) => {
  const expected = {
    'rsa-2048': 'accepted',
    'rsa-4096': 'accepted',
    'rsa-pss-2048': 'accepted',
    'p-256': 'accepted',
    'p-384': 'accepted',
    'p-521': 'accepted',
    ed25519: 'accepted',
    ed448: 'accepted',
    'rsa-1024': 'weak_key',
    'p-224': 'weak_key',
    secp256k1: 'unsupported_key',
    'dsa-2048': 'unsupported_key',
    'rsa-2048-sha1': 'weak_signature',
    'rsa-2048-md5': 'weak_signature',
    'rsa-2048-pss-sha1': 'weak_signature',
    'p-256-sha1': 'weak_signature'
  }
  for (const [name, outcome] of Object.entries(expected)) t.equal(codeOf(fixture(`${name}.crt`)), outcome, name)
})

t.test('a certificate is read as OpenSSL reads it', async (t) => {
  const certificate = parseCertificate(good)
  const openssl = new X509Certificate(good)
  t.equal(certificate.commonName, 'p-256')
  t.same(certificate.der, openssl.raw)
  t.equal(certificate.notBefore.getTime(), openssl.validFromDate.getTime())
  t.equal(certificate.notAfter.getTime(), openssl.validToDate.getTime())
  t.equal(
    Buffer.from(certificate.fingerprint, 'base64url').toString('hex'),
    openssl.fingerprint256.replaceAll(':', '').toLowerCase()
  )
  t.equal(parseCertificate(fixture('no-common-name.crt')).commonName, null)
})

t.test('a certificate is one identity however its PEM is laid out', async (t) => {
  const { fingerprint } = parseCertificate(good)
  const lines = good.trim().split('\n')
  const base64 = lines.slice(1, -1).join('')
  for (const pem of [
    good.replaceAll('\n', '\r\n'),
    `\n\n  ${good}\n\n`,
    `${lines[0]}\n${base64}\n${lines.at(-1)}`,
    `${lines[0]}\n${base64.replaceAll(/.{10}/g, '$& \n\t')}\n${lines.at(-1)}`
  ]) {
    t.equal(parseCertificate(pem).fingerprint, fingerprint)
  }
})

t.test('anything but exactly one certificate is refused', async (t) => {
  const body = good.trim().split('\n').slice(1, -1).join('\n')
  const der = decodePem(good) as Buffer
  const refused = {
    empty: '',
    words: 'hello',
    'base64 alone': body,
    'text before it': `subject=CN = p-256\n${good}`,
    'text behind it': `${good}hello`,
    'a request under a false name': fixture('request.csr').replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'),
    'another label': good.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'),
    'no base64': good.replace(body, `${body}*`),
    'base64 cut short': good.replace(body, body.slice(0, -3)),
    'an empty block': toPem(Buffer.alloc(0)).replace('\n\n', '\n'),
    'no DER': toPem(Buffer.from('hello, world')),
    'cut short': toPem(der.subarray(0, -1))
  }
  for (const [what, pem] of Object.entries(refused)) t.equal(codeOf(pem), 'invalid_certificate', what)
  t.equal(codeOf(good + good), 'multiple_certificates')
  t.equal(codeOf(fixture('request.csr')), 'certificate_request_sent')
  t.equal(codeOf(fixture('request.csr').replaceAll('BEGIN', 'BEGIN NEW')), 'certificate_request_sent')
  t.equal(codeOf(toPem(Buffer.concat([der, Buffer.from([0])]))), 'trailing_data')
})

t.test('a broken public key is refused', async (t) => {
  const der = Buffer.from(decodePem(good) as Buffer)
  const curve = Buffer.from('2a8648ce3d030107', 'hex') // the OID of P-256
  der[der.indexOf(curve) + curve.length - 1] = 0x63
  t.equal(codeOf(toPem(der)), 'invalid_certificate')
})

t.test('a date that does not exist is refused', async (t) => {
  const der = decodePem(good) as Buffer
  const at = der.indexOf(Buffer.from([0x17, 0x0d])) + 2 // the first UTCTime
  for (const date of ['xx0101000000Z', '200101000000A', '201399000000Z', '209901000000Z']) {
    const damaged = Buffer.from(der)
    damaged.write(date, at, 'latin1')
    t.equal(codeOf(toPem(damaged)), 'malformed_certificate', date)
  }
})

t.test('a date after the year 9999 is refused', async (t) => {
  const { certificate } = await createSelfSigned({ commonName: 'late', days: 365 * 40 })
  const der = decodePem(certificate) as Buffer
  const at = der.indexOf(Buffer.from([0x18, 0x0f])) + 2 // the GeneralizedTime
  der.write('99999999999999Z', at, 'latin1')
  t.equal(codeOf(toPem(der)), 'malformed_certificate')
})

t.test('a certificate with ordinary extensions is accepted', async (t) => {
  const name = (type: 'email' | 'dn' | 'url' | 'ip' | 'dns' | 'upn' | 'guid' | 'id', value: string) => ({ type, value })
  const names = [
    ...[name('email', 'a@example.com'), name('dns', 'a.example.com'), name('ip', '10.0.0.1'), name('ip', 'fd00::1')],
    ...[
      name('url', 'https://a.example.com/?a=%20'),
      name('url', 'urn:uuid:1'),
      name('dn', 'CN=a'),
      name('upn', 'a@b.example')
    ]
  ]
  const der = (hex: string) => Buffer.from(hex, 'hex')
  for (const extension of [
    new x509.SubjectAlternativeNameExtension(names),
    new x509.Extension('2.5.29.35', false, der('3009a104a4023000820101')), // authorityKeyIdentifier, of an issuer without a name
    new x509.BasicConstraintsExtension(true, 3, true),
    new x509.Extension('2.5.29.54', false, der('020105')), // inhibitAnyPolicy
    new x509.Extension('2.5.29.36', false, der('3003800100')), // policyConstraints
    new x509.Extension('2.16.840.1.113730.1.1', false, der('03020780')) // nsCertType
  ]) {
    t.equal(codeOf(await withExtension(extension)), 'accepted', extension.type)
  }
  for (const [id, hex] of [
    ['2.5.29.54', '0500'],
    ['2.5.29.36', '020105'],
    ['2.5.29.35', '3003830100'],
    ['2.5.29.37', '300306010b05'],
    ['2.5.29.37', '3003060180'],
    ['2.5.29.37', '300406028001'],
    ['2.5.29.37', '30020600'],
    ['2.5.29.15', '03020880'],
    ['2.5.29.15', '030207ff'],
    ['2.5.29.15', '0300'],
    ['2.5.29.19', '300402020001'],
    ['2.5.29.19', '3003020180'],
    ['2.5.29.19', '30030101'],
    ['2.5.29.17', '3003830100'],
    ['2.5.29.17', '3005a003050000'],
    ['2.5.29.17', '30068604257a7a61'],
    ['2.5.29.17', '30830000'],
    ['2.5.29.17', '30028100'],
    ['2.5.29.17', `308300010482820100${'61'.repeat(256)}`],
    ['2.5.29.17', '30038101ff'],
    ['2.5.29.17', '3f0100'],
    ['2.5.29.17', '300ba00906022a03a0039f0100'],
    ['2.5.29.17', '30030c01ff'],
    ['2.5.29.17', '3003050100']
  ] as const) {
    const extension = new x509.Extension(id, false, der(hex))
    t.equal(codeOf(await withExtension(extension)), 'malformed_certificate', `${id} ${hex}`)
  }
})

t.test('a NUL in the common name is refused', async (t) => {
  const { certificate } = await createSelfSigned({ commonName: 'alice@example.com\0.evil.example' })
  t.equal(codeOf(certificate), 'invalid_certificate')
})

t.test('a private key is refused with its own code', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'careless' })
  t.equal(codeOf(privateKey), 'private_key_sent')
  t.equal(codeOf(certificate + privateKey), 'private_key_sent')
  t.equal(codeOf(privateKey + ' '.repeat(9000)), 'private_key_sent', 'however long it is')
  t.equal(codeOf(privateKey.replaceAll('PRIVATE', 'EC PRIVATE').toLowerCase()), 'private_key_sent')
})

t.test('createSelfSigned makes a key and a certificate that belong together', async (t) => {
  for (const keyType of ['p-256', 'rsa-2048'] as const) {
    const { certificate, privateKey } = await createSelfSigned({ commonName: 'alice, of wonder=land', keyType })
    const x509 = new X509Certificate(certificate)
    t.ok(x509.verify(x509.publicKey), 'signed by its own key')
    t.match(privateKey, /^-----BEGIN PRIVATE KEY-----\n/)
    t.equal(parseCertificate(certificate).commonName, 'alice, of wonder=land')
    t.equal(fingerprintOf(x509.raw), parseCertificate(certificate).fingerprint)
  }
  const { certificate } = await createSelfSigned({ commonName: 'server', hosts: ['localhost', '127.0.0.1', '::1'] })
  t.equal(new X509Certificate(certificate).checkHost('localhost'), 'localhost')
  t.equal(new X509Certificate(certificate).checkIP('::1'), '::1')
})

t.test('docs/PEERS.md names a command that prints the same fingerprint', async (t) => {
  const dir = t.testdir({ 'peer.crt': good })
  const [command] = readFileSync('docs/PEERS.md', 'utf8').match(/openssl x509 -in [^`]+/) as [string]
  t.equal(
    execFileSync('sh', ['-c', command.replace('certs/alice.crt', 'peer.crt')], { cwd: dir, encoding: 'utf8' }).trim(),
    parseCertificate(good).fingerprint
  )
})
