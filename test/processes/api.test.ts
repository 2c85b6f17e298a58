import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { VERSION } from '../../src/runtime/version.ts'
import { client } from '../support/api.ts'
import { createDatabase, lockedOut } from '../support/database.ts'
import { send } from '../support/http-client.ts'
import { registerPeer } from '../support/peers.ts'
import { start, withoutLog } from '../support/process.ts'

/** The origins at which a started API serves peers and operators. */
function addresses(output: string) {
  const [, internal] = output.match(/Operators are served at (http:[^"]+)/) as [string, string]
  const [, origin] = output.match(/Server listening at (http:[^"]+)/) as [string, string]
  return { origin, internal }
}

t.test('npm run api listens, serves, and drains on SIGTERM', async (t) => {
  const { patient, sql } = await createDatabase(t)
  const api = start(t, 'src/processes/api.ts', { env: { DATABASE_URL: patient, PORT: '0', INTERNAL_PORT: '0' } })
  await api.printed('Server listening')
  const [first = ''] = api.output().split('\n')
  t.match(JSON.parse(first), { version: VERSION }, 'the first line tells which version it is')
  const { origin, internal } = addresses(api.output())
  t.match(await send(`${internal}/readyz`), { status: 200 })
  const relay = client(`${origin}/api/relay`)
  const alice = await registerPeer(relay)

  const broken = connect(Number(new URL(origin).port), '127.0.0.1')
  broken.write(
    'POST /api/relay/register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{'
  )
  await setTimeout(100)
  broken.destroy()
  await api.printed('"status":499')
  t.notMatch(api.output(), '"level":50', 'a caller who hangs up within a body is no failure of ours')

  await sql.begin(async (transaction) => {
    await transaction`lock table broadcasts in access exclusive mode`
    const inFlight = relay.ready(alice)
    await lockedOut(sql)
    const late = connect(Number(new URL(origin).port), '127.0.0.1').setEncoding('utf8')
    late.write('GET /api/relay/register HTTP/1.1\r\n')
    await setTimeout(100)
    api.child.kill('SIGTERM')
    await setTimeout(200)
    late.write('host: a\r\n\r\n')
    t.match(
      (await late.toArray()).join(''),
      /^HTTP\/1.1 405 .*"code":"method_not_allowed"/s,
      'so does one that had begun'
    )
    await transaction`commit`
    t.match(await inFlight, { status: 200 }, 'a request in flight is answered')
  })
  t.match(await api.ended, { code: 0 })
  const answers = api
    .output()
    .split('\n')
    .filter((line) => line.includes('request completed') && line.includes(alice.fingerprint))
  t.equal(answers.length, 2, 'register and ready are logged with the fingerprint')
  t.notMatch(api.output(), /BEGIN|certificate"/, 'but with no certificate or key')
  t.notMatch(api.output(), alice.email, 'or e-mail address')
})

t.test('a wrong setting or a taken port stops the API with one line', async (t) => {
  const run = (env: NodeJS.ProcessEnv) => start(t, 'src/processes/api.ts', { env }).ended
  t.match(await run({}), { code: 1, output: /^relay-tracker: .*DATABASE_URL.*\n$/ })
  const DATABASE_URL = 'postgres://relay@127.0.0.1:1/relay'
  t.match(await run({ DATABASE_URL, PORT: 'x' }), { code: 1, output: /^relay-tracker: PORT: must be integer\n$/ })

  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const PORT = String((taken.address() as { port: number }).port)
  t.match(await run({ DATABASE_URL, PORT, INTERNAL_PORT: '0' }), {
    code: 1,
    output: `relay-tracker: port ${PORT} on 127.0.0.1 is taken: end what listens there, or set PORT to another\n`
  })
  const failed = await run({ DATABASE_URL, PORT: '0', INTERNAL_PORT: PORT })
  t.equal(failed.code, 1)
  t.match(
    withoutLog(failed.output),
    /^relay-tracker: port \d+ on 127.0.0.1 is taken: .* set INTERNAL_PORT to another\n$/
  )
  t.match(await run({ DATABASE_URL, PORT: '0', INTERNAL_PORT: '0', HOST: '203.0.113.9' }), {
    code: 1,
    output: /^relay-tracker: .*EADDRNOTAVAIL/m
  })
})

t.test('settings come from .env too, and the environment takes precedence', async (t) => {
  const cwd = t.testdir({ '.env': 'DATABASE_URL=postgres://relay@127.0.0.1:1/relay\nPORT=nonsense\nLOG_LEVEL=info\n' })
  t.match(await start(t, 'src/processes/api.ts', { cwd }).ended, { output: /^relay-tracker: PORT: must be integer$/m })
  const api = start(t, 'src/processes/api.ts', { cwd, env: { PORT: '0', INTERNAL_PORT: '0' } })
  await api.printed('Server listening')
  const { internal } = addresses(api.output())
  t.match(await send(`${internal}/livez`), { status: 200 })
  t.match(await send(`${internal}/readyz`), { status: 503 }, 'it starts without its database and says so')
  api.child.kill('SIGINT')
  t.match(await api.ended, { code: 0 })
})

t.test('an uncaught error is logged, and ends the API with exit code 1', async (t) => {
  const api = start(t, 'src/processes/api.ts', {
    env: {
      DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay',
      PORT: '0',
      INTERNAL_PORT: '0',
      NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import "data:text/javascript,process.on('SIGUSR2',()=>{throw new Error('boom')})"`
    }
  })
  await api.printed('Server listening')
  api.child.kill('SIGUSR2')
  t.match(await api.ended, { code: 1, output: /"message":"boom"/ })
})

t.test('an error that means a broken process ends it at once, and is never caught', async (t) => {
  const env = { DATABASE_URL: 'postgres://relay@127.0.0.1:1/relay', PORT: '0', INTERNAL_PORT: '0' }
  for (const signal of ['SIGABRT', 'SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP'] as const) {
    const api = start(t, 'src/processes/api.ts', { env })
    await api.printed('Server listening')
    api.child.kill(signal)
    t.match(await api.ended, { signal }, signal)
  }
})
