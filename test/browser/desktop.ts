import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { ANNOUNCED, startImpostor, startTracker } from '../peer/helper.ts'
import { send } from '../support/http-client.ts'
import { addPeers } from '../support/many-peers.ts'
import { start } from '../support/process.ts'

/** `npm run test:browser`: the chat of examples/desktop, as two people see it. Its `screenshots/chat.png` is the picture in the READMEs. */
const executablePath = process.env.CHROMIUM || execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim()

const ROOT = join(import.meta.dirname, '../..')
const EXAMPLE = join(ROOT, 'examples/desktop')
const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']
const SIZE = { width: 700, height: 470 }

let browser: Browser
t.before(async () => {
  // What its README says, without the options that tap adds for Node.js.
  const npm = (...args: string[]) => promisify(execFile)('env', ['-u', 'NODE_OPTIONS', 'npm', ...args], { cwd: ROOT })
  await npm('run', 'build')
  await npm('install', '--prefix', EXAMPLE, '--no-audit', '--no-fund')
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
})
t.teardown(() => browser?.close())

type Tracker = Awaited<ReturnType<typeof startTracker>>

/** Starts the chat with an identity of this name. */
function startChat(t: Test, tracker: Tracker, name: string) {
  const own = ['--email', `${name}@example.com`, '--dir', tracker.dirOf(name)]
  const args = ['--tracker', tracker.origin, '--ca', tracker.dirOf('server.crt'), '--address', ANNOUNCED, ...own]
  return start(t, 'examples/desktop/chat.js', { args, cwd: tracker.dirOf('.') })
}

async function untilUrl(chat: ReturnType<typeof startChat>): Promise<string> {
  await chat.printed('Ctrl-C ends.')
  return String(/http:\S+/.exec(chat.output()))
}

/** What browsers have complained about, such as what the page's policy forbids. */
const complaints: string[] = []

async function openBrowser(t: Test, colorScheme: 'light' | 'dark') {
  const context = await browser.newContext({ viewport: SIZE, colorScheme, deviceScaleFactor: 1 })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.on('pageerror', ({ message }) => complaints.push(message))
  // The application may have ended.
  page.on('console', (message) => message.text().includes('net::ERR_') || complaints.push(message.text()))
  return page
}

async function open(t: Test, tracker: Tracker, name: string, colorScheme: 'light' | 'dark' = 'light') {
  const [page, chat] = [await openBrowser(t, colorScheme), startChat(t, tracker, name)]
  await page.goto(await untilUrl(chat))
  return look(page, chat)
}

/** What a person does and sees. */
function look(page: Page, chat: ReturnType<typeof startChat>) {
  const within = (selector: string, hasText: string) => page.locator(selector, { hasText }).waitFor()
  return {
    page,
    chat,
    sees: within,
    seesOnline: (email: string) => within('#people li[data-online]', email),
    seesOffline: (email: string) => within('#people li:not([data-online])', email),
    seesConnected: () => within('#status', 'Connected, and verified'),
    choose: (email: string) => page.locator('#people button', { hasText: email }).click(),
    async say(text: string) {
      await page.locator('#say input').fill(text)
      await page.keyboard.press('Enter')
      await within('#lines .me', text)
    },
    async end() {
      chat.child.kill('SIGINT')
      return chat.ended
    }
  }
}

t.test('two people chat, with and without a tracker', async (t) => {
  const tracker = await startTracker(t)
  const alice = await open(t, tracker, 'alice')
  await alice.sees('#state', 'Online')
  for (const name of ['carol', 'dave', 'erin']) await tracker.up(name)
  let bob = await open(t, tracker, 'bob', 'dark')
  await Promise.all([alice.seesOnline(BOB), bob.seesOnline(ALICE)])

  await alice.choose(BOB)
  await alice.seesConnected()
  await alice.say('Hello Bob! Shall we meet at the station?')
  await bob.sees('#people li[data-unread]', ALICE)
  await bob.choose(ALICE)
  await bob.sees('#lines .peer', 'Shall we meet at the station?')
  await bob.say('Yes, at six. Do not be late!')
  await bob.say('The train leaves from platform 4.')
  await alice.sees('#lines .peer', 'Do not be late')
  await alice.say('I will be there.')
  await bob.sees('#lines .peer', 'I will be there.')
  await picture(t, alice.page, bob.page)

  await alice.page.click('#hang-up')
  await Promise.all([alice.sees('#lines .note', 'You hung up'), bob.sees('#lines .note', `${ALICE} has left`)])
  await tracker.fastify.close()
  await Promise.all([alice, bob].map(({ sees }) => sees('#tracker', 'The list may be out of date')))
  await alice.page.click('#again')
  await Promise.all([alice.seesConnected(), bob.seesConnected()])
  await alice.say('The tracker is away, and I found you.')
  await bob.sees('#lines .peer', 'The tracker is away')

  t.match(await bob.end(), { code: 0 })
  await bob.sees('#state', 'The application has ended')
  bob = await open(t, tracker, 'bob')
  await bob.sees('#state', 'Not online: Nothing answers at the address of the tracker.')
  await alice.page.click('#again')
  await alice.seesConnected()
  await bob.choose(ALICE)
  await bob.seesConnected()
  await bob.say('I started offline.')
  await alice.sees('#lines .peer', 'I started offline.')

  await tracker.restart()
  await Promise.all([bob.sees('#state', 'Online'), bob.seesOnline(ALICE), alice.seesOnline(BOB)])
  await alice.page.locator('#tracker', { hasText: /^$/ }).waitFor({ state: 'attached' })
  t.match(await bob.end(), { code: 0 })
  await Promise.all([alice.sees('#status', 'Not connected'), alice.seesOffline(BOB)])
  await alice.page.click('#again')
  await alice.sees('#problem', `${BOB} is not online.`)
})

t.test('a signed rotation goes unnoticed, a new certificate is trusted only when asked for', async (t) => {
  const tracker = await startTracker(t)
  const [alice, first] = [await open(t, tracker, 'alice'), await open(t, tracker, 'bob')]
  await alice.choose(BOB)
  await alice.seesConnected()
  const before = await alice.page.textContent('#status')

  t.match(await tracker.run('bob', 'rotate'), { code: 0 })
  await alice.page.click('#hang-up')
  await alice.page.click('#again')
  await alice.seesConnected()
  t.not(await alice.page.textContent('#status'), before)
  t.notOk(await alice.page.isVisible('#problem'))

  const second = startChat(t, tracker, 'bob')
  t.match(await second.ended, { code: 1, output: /bob@example.com is already running: process \d+ .*\nIts page: http/ })
  t.match(await send(String(/http:\S+/.exec(second.output()))), { status: 200 })

  t.match(await tracker.run('bob', 'forget', '--yes'), { code: 0 })
  t.match(await first.chat.ended, { code: 0 }, 'it was asked to end')
  const bob = await open(t, tracker, 'bob')
  await bob.page.fill('#call input', ALICE)
  await bob.page.keyboard.press('Enter')
  await bob.sees('#problem', 'they know you by another certificate')
  await alice.sees('#problem', `${BOB} has a new certificate`)
  t.equal(await alice.page.textContent('#presented'), await bob.page.textContent('#fingerprint'))
  t.match(await alice.page.textContent('#known'), /^[\w-]{43}$/)
  await alice.page.screenshot({ path: 'screenshots/chat-changed.png' })

  await alice.page.click('#trust')
  await alice.page.click('#sure [value=no]')
  await alice.page.click('#again')
  await alice.sees('#problem', `${BOB} has a new certificate`)
  await alice.page.click('#trust')
  await alice.page.click('#sure [value=yes]')
  await Promise.all([alice.seesConnected(), bob.seesConnected()])
  t.notOk(await alice.page.isVisible('#problem'))
})

t.test('peers that misbehave, and very many, do no harm', async (t) => {
  const tracker = await startTracker(t)
  const [alice, carol] = [await open(t, tracker, 'alice'), await tracker.up('carol')]
  await alice.seesOnline('carol@example.com')
  const socket = await carol.connect(ALICE)
  socket.write(`<img src=x onerror=alert(1)>\n${'x'.repeat(5000)}`)
  await once(socket.resume(), 'close')
  await alice.choose('carol@example.com')
  await alice.sees('#lines .peer', '<img src=x onerror=alert(1)>')
  await alice.sees('#lines .note', 'The connection broke: a line was too long')

  const bob = await open(t, tracker, 'bob')
  await alice.seesOnline(BOB)
  await alice.choose(BOB)
  await alice.seesConnected()
  bob.chat.child.kill('SIGKILL')
  await bob.chat.ended
  await alice.sees('#status', 'Not connected')
  await alice.page.click('#again')
  await alice.sees('#attempts', 'nothing listens there any more')
  const { port } = await carol.lookup(BOB)
  const impostor = await startImpostor(t, port)
  await alice.page.click('#again')
  await alice.sees('#problem', 'Somebody else answers')
  await alice.page.screenshot({ path: 'screenshots/chat-impostor.png' })
  t.equal(impostor.heard(), '')
  const again = await open(t, tracker, 'bob')
  await again.sees('#state', 'Online')
  await alice.page.click('#again')
  await alice.seesConnected()

  await addPeers(tracker.sql, 3000)
  await alice.sees('#more', 'and 29')
  t.equal(await alice.page.locator('#people li').count(), 100)
})

t.test('nobody else can use the page', async (t) => {
  const tracker = await startTracker(t)
  const url = await untilUrl(startChat(t, tracker, 'alice'))
  const { origin, host } = new URL(url)
  t.match(await send(url), { status: 200, headers: { 'content-security-policy': /^default-src 'none'; / } })
  t.match(await send(`${url}../`), { status: 404 })
  t.match(await send(`${origin}/`), { status: 404 })
  t.match(await send(`${origin}/${'x'.repeat(32)}/events`), { status: 404 })
  t.match(await send(url, { headers: { host: host.replace('127.0.0.1', 'rebound.example') } }), { status: 404 })
  const body = { email: BOB }
  t.match(await send(`${url}call`, { body }), { status: 403 })
  t.match(await send(`${url}call`, { body, headers: { origin: 'https://mallory.example' } }), { status: 403 })
  const type = 'text/plain'
  t.match(await send(`${url}call`, { body, headers: { origin, 'content-type': type } }), { status: 403 })
  t.match(await send(`${url}toString`, { body, headers: { origin } }), { status: 404 })
  t.match(await send(`${url}call`, { body, headers: { origin } }), { status: 204 })
})

t.test('browsers had nothing to complain about', async (t) => t.same(complaints, []))

/** Both pages side by side, for the README. */
async function picture(t: Test, ...pages: Page[]) {
  const shots = await Promise.all(pages.map((page) => page.screenshot()))
  const images = shots.map((shot) => `<img src="data:image/png;base64,${shot.toString('base64')}">`)
  const width = SIZE.width * 2 + 36
  const context = await browser.newContext({ viewport: { width, height: SIZE.height + 24 }, deviceScaleFactor: 1 })
  t.teardown(() => context.close())
  const page = await context.newPage()
  const style = 'body { display: flex; gap: 12px; margin: 12px; background: #8a94a6 } img { border-radius: 8px }'
  await page.setContent(`<style>${style}</style>${images.join('')}`)
  await page.screenshot({ path: 'screenshots/chat.png' })
}
