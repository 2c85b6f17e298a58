import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { eventually } from '../support/eventually.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { startStack } from '../support/stack.ts'
import { BLOCK, EXHAUST_CONTAINER, EXHAUST_HEAP } from '../support/two-apis.ts'
import { between, restarted, underLoad } from './under-load.ts'

/** Milliseconds within which an API that exited serves again. */
const MAX_RESTART = 10_000
/** Milliseconds that an API hangs: longer than nginx skips it. */
const HANG = 20_000

t.test('two APIs recover from faults of one, and of both', { skip: skipWithoutContainers }, async (t) => {
  const stack = await startStack(t, NO_EDGE_LIMITS)
  await stack.up('--no-recreate', '--scale', 'api=2')
  await stack.nginxHasReloaded()
  const [first, second] = (await stack.containerIds('api')) as [string, string]

  /** From its exit until it serves again. */
  async function doomed(id: string, expression: string) {
    const { start } = await restarted(stack, id, () => stack.evaluate(id, expression))
    const end = await eventually(
      () => stack.listeningSince(id),
      (time) => time > start,
      60
    )
    t.ok(end - start <= MAX_RESTART, `it served again ${end - start} ms after its end`)
    return { start, end }
  }

  await underLoad(t, stack, '1 of 2 APIs: heap used up', () => doomed(first, EXHAUST_HEAP), {
    isNoticed: 'maybe',
    isOnce: true
  })

  await underLoad(
    t,
    stack,
    "1 of 2 APIs: container's memory used up",
    async () => {
      const since = String(Math.floor(Date.now() / 1000))
      const fault = await doomed(first, EXHAUST_CONTAINER)
      const range = ['--since', since, '--until', '0s', '--filter', `container=${first}`]
      t.match(await stack.docker('events', ...range), ' container oom ', 'the kernel ended it')
      return fault
    },
    { isNoticed: 'maybe', isOnce: true }
  )

  await underLoad(t, stack, '1 of 2 APIs: event loop blocked for good', () => doomed(first, BLOCK), { isOnce: true })

  const frozen = (...ids: string[]) =>
    between(
      () => Promise.all(ids.map((id) => stack.signal(id, 'STOP'))),
      () => Promise.all(ids.map((id) => stack.signal(id, 'CONT'))),
      HANG
    )
  await underLoad(t, stack, '1 of 2 APIs: frozen', () => frozen(first))
  await underLoad(t, stack, '2 of 2 APIs: frozen', () => frozen(first, second))

  const [{ RestartCount }] = await stack.inspect(second)
  t.equal(RestartCount, 0, 'who was frozen goes on')
})
