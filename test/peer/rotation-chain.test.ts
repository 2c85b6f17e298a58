import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Credentials, fingerprintOf } from '../../peer/src/identity/credentials.ts'
import { isSuccessor, type Rotation, signRotation } from '../../peer/src/identity/rotation-chain.ts'
import { isRotationSigned } from '../../src/identity/rotation-signature.ts'
import { createPeer } from '../support/peers.ts'

type Link = Pick<Credentials, 'certificate' | 'privateKey' | 'fingerprint'>

async function createAll(count: number): Promise<Link[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => createPeer(`peer-${n}`)))
}

function rotation(from: Link, to: Link): Rotation {
  return { certificate: to.certificate, signature: signRotation(from as Credentials, to as Credentials) }
}

/** What the tracker keeps of a peer that had these certificates. */
function chain(links: Link[]): Rotation[] {
  return links.slice(1).map((link, index) => rotation(links[index] as Link, link))
}

t.test('each key of a chain leads to the last certificate', async (t) => {
  const links = await createAll(9)
  const { fingerprint } = links[8] as Link
  const rotations = chain(links)
  for (const known of links.slice(0, 8)) t.ok(isSuccessor(known, fingerprint, rotations))
  t.notOk(isSuccessor(links[8] as Link, fingerprint, rotations), 'which has no successor')
  const [first, second] = links as [Link, Link]
  t.ok(isSuccessor(first, second.fingerprint, chain([first, second])))
  t.ok(isSuccessor({ fingerprint: second.fingerprint }, fingerprint, rotations), 'a fingerprint in the chain suffices')
  t.notOk(isSuccessor({ fingerprint: first.fingerprint }, fingerprint, rotations), 'but the key before it is missing')
})

t.test('a chain that is not signed throughout leads nowhere', async (t) => {
  const links = await createAll(4)
  const [first, second, third, last] = links as [Link, Link, Link, Link]
  const [one, two, three] = chain(links) as [Rotation, Rotation, Rotation]
  const [mallory] = await createAll(1)
  const forged = { ...three, signature: signRotation(mallory as Credentials, last as Credentials) }
  const tampered = Buffer.from(new X509Certificate(two.certificate).raw)
  tampered[tampered.length - 1] = (tampered.at(-1) as number) ^ 1
  const pem = `-----BEGIN CERTIFICATE-----\n${tampered.toString('base64')}\n-----END CERTIFICATE-----\n`
  const chains: Record<string, Rotation[] | unknown> = {
    'no chain': undefined,
    empty: [],
    'a gap': [one, three],
    'the wrong order': [two, one, three],
    'another key': [one, two, forged],
    'not up to the current one': [one, two],
    'a tampered certificate': [one, { ...two, certificate: pem }, three],
    'a cut signature': [one, two, { ...three, signature: three.signature.slice(0, -8) }],
    garbage: [{ certificate: 'x', signature: 'y' }],
    'no objects': [null],
    'no list': 'x'
  }
  for (const [what, rotations] of Object.entries(chains)) {
    t.notOk(isSuccessor(first, last.fingerprint, rotations as Rotation[]), what)
  }
  t.notOk(isSuccessor(mallory as Link, last.fingerprint, [one, two, three]), 'nor does a stranger get there')
  t.ok(
    isSuccessor(second, last.fingerprint, [rotation(third, second), ...chain([second, third, last])]),
    'the last place counts'
  )
})

t.test('keys of any kind sign as the tracker wants it', async (t) => {
  const next = await createPeer('next')
  const rsa = await createPeer('rsa', { keyType: 'rsa-2048' })
  const edwards = createEd25519(t)
  for (const peer of [await createPeer('ec'), rsa, edwards]) {
    const link = rotation(peer, next)
    const [der, nextDer] = [peer, next].map(({ certificate }) => new X509Certificate(certificate).raw)
    t.ok(isRotationSigned(der as Buffer, nextDer as Buffer, Buffer.from(link.signature, 'base64url')))
    t.ok(isSuccessor(peer, next.fingerprint, [link]))
  }
})

/** An Ed25519 certificate, which `createPeer` does not make. */
function createEd25519(t: Test): Link {
  const cwd = t.testdir({})
  const request = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-subj', '/CN=alice', '-days', '9', '-keyout', 'key']
  const certificate = execFileSync('openssl', request, { cwd, encoding: 'utf8', stdio: 'pipe' })
  const privateKey = readFileSync(join(cwd, 'key'), 'utf8')
  return { certificate, privateKey, fingerprint: fingerprintOf(new X509Certificate(certificate).raw) }
}
