import { execFileSync } from 'node:child_process'
import { type BrowserContextOptions, chromium } from 'playwright-core'
import t from 'tap'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { send } from '../support/http-client.ts'
import { loadDescription } from '../support/openapi.ts'

/** `npm run test:browser`: the API's description, as an operator reads it. */
const executablePath = process.env.CHROMIUM || execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim()

const LOOKS: Record<string, BrowserContextOptions> = {
  desktop: { viewport: { width: 1024, height: 1250 } },
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true }
}

t.test("a browser shows the API's description", async (t) => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  const { url: database } = await createDatabase(t)
  const mail = { SMTP_URL: 'smtp://localhost', MAIL_FROM: 'relay@example.com', PUBLIC_URL: 'https://relay.example.com' }
  const { internal } = await startApi(t, { database, env: mail })
  const { operations } = loadDescription()

  for (const [look, options] of Object.entries(LOOKS)) {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => {
      if (!request.url().startsWith(internal)) complaints.push(`from elsewhere: ${request.url()}`)
    })

    await page.goto(`${internal}/docs/`)
    await page.waitForSelector('.opblock')
    t.equal(await page.title(), 'Relay Tracker API')
    for (const { id, responses } of operations) {
      const call = page.locator(`.opblock[id$="-${id}"]`)
      await call.locator('.opblock-summary-control').click()
      for (const status of Object.keys(responses)) {
        await call.locator(`tr.response[data-code="${status}"]`).waitFor()
      }
      if (id !== 'lookup') await call.locator('.opblock-summary-control').click()
    }
    const lookup = page.locator('.opblock[id$="-lookup"]')
    t.match(await lookup.textContent(), /aOZRCMpx3fY0MQUcZNqYKRv28BCBGP3ZpwobB8rtaEY/, 'an example')
    t.equal(await page.locator('.try-out').count(), 0, 'nothing can be tried out')
    t.notOk(await page.locator('.auth-wrapper').first().isVisible(), 'nor anybody log in')
    await page.locator('#operations-tag-Broadcast').evaluate((heading) => heading.scrollIntoView())
    await page.screenshot({ path: `screenshots/api-${look}.png` })
    t.same(complaints, [], 'nothing of the page was refused, and nothing came from elsewhere')
    await context.close()
  }
  t.match(await send(`${internal}/docs/`), {
    headers: { 'content-security-policy': /default-src 'none'; script-src 'self';/ }
  })
})
