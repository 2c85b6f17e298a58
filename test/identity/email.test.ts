import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import fc from 'fast-check'
import { createTransport } from 'nodemailer'
import t from 'tap'
import { Email } from '../../src/http/shared-schemas.ts'
import { startAdmin } from '../admin/helper.ts'
import { startApi } from '../support/api.ts'
import { edits } from '../support/arbitraries.ts'
import { createPeer, registerPeer } from '../support/peers.ts'

const ajv = new Ajv()
addFormats.default(ajv)
const isValid = ajv.compile<string>(Email)

const SPACE = 'email must be without spaces; in a URL, write + as %2B'
const ASCII = 'email must be in ASCII, with an international domain in its xn-- form'
const FORM = 'email must be a valid e-mail address of at most 254 characters'
const LOCAL = 'email must be an address with at most 64 characters before the @'
const LABEL = 'email must be at a domain whose parts have at most 63 characters each'
const DOMAIN = 'email must be at a domain name whose last part begins with a letter, not at an IP address'
const LABEL_63 = 'b'.repeat(63)

const REFUSED: Record<string, string[]> = {
  [SPACE]: ['alice tag@example.com', ' alice@example.com', 'alice@example.com\n', 'alice@exam\u00a0ple.com'],
  [ASCII]: ['alice@bücher.example', 'älice@example.com', 'alice@例え.jp', 'alice@example.com\u200b', 'u@１２７.0.0.1'],
  [FORM]: [
    ...['', 'alice', 'alice@', '@example.com', 'alice@localhost', 'a@b@example.com', '"ab"@example.com'],
    ...['alice@exam\u0000ple.com', 'alice@-example.com', 'alice@example.com.', 'alice@[127.0.0.1]', 'alice@[IPv6:::1]'],
    `a@${`${LABEL_63}.`.repeat(4)}com`
  ],
  [LOCAL]: [`${'a'.repeat(65)}@example.com`],
  [LABEL]: [`a@b${LABEL_63}.com`, `a@${LABEL_63}b.example.com`, `a@example.b${LABEL_63}`],
  [DOMAIN]: [
    ...['u@127.0.0.1', 'u@0x7f.1', 'u@0X7F.0.0.0x1', 'u@127.1', 'u@0177.0.0.01', 'u@0x7f000001.0', 'u@example.1'],
    ...['u@example.0x1', 'u@example.1a', 'u@300.300.300.300', 'u@1.2']
  ]
}

const ACCEPTED = [
  ...['alice@example.com', 'alice+tag@example.com', 'a@b.cd', "o'brien&sons{x}@example.com", 'a@xn--bcher-kva.example'],
  ...['a@example.xn--p1ai', 'a@127.0.0.1.example', 'a@0x7f.com', 'a@1e3.com', `a@${LABEL_63}.com`, 'a@example.b1']
]

t.test('each rule has its own message, at registration, lookup and import', async (t) => {
  const { relay } = await startApi(t)
  const alice = await registerPeer(relay)
  const { certificate } = await createPeer()
  const { admin } = await startAdmin(t)
  for (const [error, addresses] of Object.entries(REFUSED)) {
    for (const email of addresses) {
      const refused = { status: 400, body: { error, code: 'invalid_email' } }
      t.match(await relay.register({ email, certificate }), refused, `register ${email}`)
      t.match(await relay.lookup(alice, email), refused, `look up ${email}`)
    }
  }
  const lines = Object.entries(REFUSED).flatMap(([error, addresses]) => addresses.map((email) => ({ error, email })))
  const input = lines.map(({ email }) => `${JSON.stringify({ email, certificate })}\n`).join('')
  const { stderr } = await admin(['import'], { input })
  t.same(
    stderr.split('\n').slice(0, lines.length),
    lines.map(({ error }, n) => `line ${n + 1}: ${error} (invalid_email)`)
  )
  for (const email of ACCEPTED) t.match(await relay.lookup(alice, email), { status: 404 }, email)
  const unescaped = await relay.call('/broadcast/lookup?email=alice+tag@example.com', { as: alice })
  t.match(unescaped, { status: 400, body: { error: SPACE, code: 'invalid_email' } })
})

t.test('an e-mail goes to the very address that is counted and shown', async () => {
  const transport = createTransport({ jsonTransport: true })
  const label = fc.oneof(
    fc.constantFrom('0', '127', '0x7f', '0177', 'xn--', 'xn--a', 'xn--bcher-kva', 'xn--0', 'a--b', 'com', '1a', 'b1'),
    fc.stringMatching(/^[a-z0-9-]{1,12}$/)
  )
  const domain = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
  const edited = fc.tuple(fc.emailAddress(), edits(fc.string({ maxLength: 3 }))).map(([email, edit]) => edit(email))
  const address = fc.oneof(
    domain.map((name) => `u@${name}`),
    fc.emailAddress(),
    edited
  )
  let sent = 0
  await fc.assert(
    fc.asyncProperty(address, async (email) => {
      if (!isValid(email)) return true
      sent++
      const to = { name: '', address: email.toLowerCase() }
      const { envelope } = await transport.sendMail({ from: 'relay@example.com', to, text: '' })
      return envelope.to.join() === to.address
    }),
    { numRuns: 3000 }
  )
  t.ok(sent > 300, `${sent} were valid`)
})

t.test('a peer registered with an address that is refused today stays and is found', async (t) => {
  const { sql, admin, url: database } = await startAdmin(t)
  const { relay } = await startApi(t, { database })
  const [alice, bob] = [await registerPeer(relay, 'alice'), await registerPeer(relay, 'bob')]
  const email = 'alice@127.0.0.1'
  await sql`update clients set email = ${email} where email = ${alice.email}`
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.list(bob), { status: 200, body: [{ email }] })
  const found = await relay.call(`/broadcast/lookup?fingerprint=${alice.fingerprint}`, { as: bob })
  t.match(found, { status: 200, body: { email } })
  t.match(await admin(['clients', 'show', email]), { code: 0 })
})
