import { execFileSync } from 'node:child_process'
import { type BrowserContextOptions, chromium } from 'playwright-core'
import t from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { linkIn, startMailer, startMailServer } from '../support/mail.ts'
import { createPeer } from '../support/peers.ts'

/** `npm run test:browser`: from the mail to the confirmation, without scripts. */
const executablePath = process.env.CHROMIUM || execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim()

const LOOKS: Record<string, BrowserContextOptions> = {
  light: { viewport: { width: 1024, height: 720 }, colorScheme: 'light' },
  dark: { viewport: { width: 1024, height: 720 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', deviceScaleFactor: 2, isMobile: true }
}

t.test('a browser without JavaScript confirms an e-mail address', async (t) => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['localhost'] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const { url: database } = await createDatabase(t)
  const server = await startMailServer(t)
  await startMailer(t, database, server.env)
  const tls = { TLS_CERT_PATH: `${dir}/server.crt`, TLS_KEY_PATH: `${dir}/server.key` }
  const { relay, origin } = await startApi(t, { database, env: { ...server.env, ...tls } })

  for (const [look, options] of Object.entries(LOOKS)) {
    const peer = await createPeer(look)
    t.match(await relay.register(peer), { status: 200 })
    const mail = await server.next()
    const context = await browser.newContext({ ...options, javaScriptEnabled: false, ignoreHTTPSErrors: true })
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => complaints.push(message.text()))
    const picture = (name: string) => page.screenshot({ path: `screenshots/${name}-${look}.png` })

    await page.setContent(mail.html as string)
    await picture('mail')
    await page.goto(origin + linkIn(mail))
    t.match(await page.title(), 'Confirm your e-mail address')
    t.match(await page.textContent('body'), peer.email)
    t.match(await page.textContent('body'), peer.fingerprint)
    await picture('ask')
    t.match(await relay.ready(peer), { status: 403 }, 'to look changes nothing')

    // By keyboard, which reaches nothing but the button.
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=is yours')
    await picture('confirmed')
    t.match(await relay.ready(peer), { status: 200 })

    await page.goto(origin + linkIn(mail))
    t.match(await page.textContent('h1'), 'no longer works')
    await picture('used')
    t.same(
      complaints.filter((text) => !text.includes('404')),
      [],
      'the browser refused nothing of the pages'
    )
    await context.close()
  }
})
