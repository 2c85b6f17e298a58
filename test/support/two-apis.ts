import type { Test } from 'tap'
import { eventually } from './eventually.ts'
import { untilStatus } from './http-client.ts'
import { repeated, startLoad } from './load.ts'
import { registerPeer } from './peers.ts'
import type { Stack } from './stack.ts'

/** Expressions by which a Node.js process exceeds its heap's limit, or its container's. */
export const EXHAUST_HEAP = 'for (const all = []; ; ) all.push(Array(1e5).fill(all.length))'
export const EXHAUST_CONTAINER = 'for (const all = []; ; ) all.push(Buffer.alloc(2 ** 20, 1))'

/** An expression that never ends. */
export const BLOCK = 'for (;;);'

/** Tests what callers notice while one of two APIs is down. One is left at the end. */
export function testTwoApis(t: Test, { origin, relay, docker, containerIds, inspect, up, ...stack }: Stack) {
  const load = (t: Test) => {
    const started = startLoad(origin, { peers: 4, rest: 100, registrations: false, repeats: true })
    t.teardown(async () => (await started).stop())
    return started
  }

  t.test('callers do not notice when one of two APIs is restarted', async (t) => {
    const [first] = (await containerIds('api')) as [string]
    await up('--no-recreate', '--scale', 'api=2')
    await stack.nginxHasReloaded()

    const { outcomes, stop } = await load(t)
    await docker('restart', '--time', '10', first)
    await stop()
    t.ok(outcomes.length > 0)
    t.same(
      outcomes.filter(({ status }) => status !== 200),
      []
    )
  })

  for (const [what, expression] of Object.entries({ 'runs out of memory': EXHAUST_HEAP, hangs: BLOCK })) {
    t.test(`one of two APIs that ${what} is restarted, and costs no caller more than one call`, async (t) => {
      const [first] = (await containerIds('api')) as [string]
      const { RestartCount: before } = (await inspect(first))[0]
      const { outcomes, stop } = await load(t)
      const start = Date.now()
      await stack.evaluate(first, expression)
      await eventually(
        () => stack.listeningSince(first),
        (time) => time > start,
        120
      )
      await stop()
      t.equal((await inspect(first))[0].RestartCount, before + 1)
      const errors = outcomes.filter(({ status }) => status !== 200)
      t.same(repeated(errors), [])
      for (const { status, retryAfter } of errors) t.match({ status, retryAfter }, { status: 503, retryAfter: '2' })
      t.ok(outcomes.length > errors.length, 'the other one answers')
    })
  }

  t.test('callers reach one of two APIs when the other is gone', async (t) => {
    const eve = await registerPeer(relay, 'eve')
    const [first] = (await containerIds('api')) as [string]
    await docker('stop', first)
    await untilStatus(200, () => relay.list(eve))
    for (let round = 0; round < 20; round++) t.match(await relay.ready(eve), { status: 200 })
  })
}
