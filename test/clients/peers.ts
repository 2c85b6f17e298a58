import { join } from 'node:path'
import type { Test } from 'tap'
import { type GenericContainer, Wait } from 'testcontainers'
import { eventually } from '../support/eventually.ts'
import { buildImage } from '../support/image.ts'
import { start } from '../support/process.ts'
import { TRACKER, type Tracker } from './tracker.ts'

export type Language = 'Python' | 'Go' | 'Rust'
export type Client = Awaited<ReturnType<typeof startClient>>

/** An image with the client from examples/ in that language. */
export function clientImage(language: Language): Promise<GenericContainer> {
  const name = language.toLowerCase()
  return buildImage(`relay-tracker-test-client-${name}`, 'examples/clients', `test/clients/${name}.Dockerfile`)
}

/** A client from examples/ that listens in its own container, as NAME@example.com. */
export async function startClient(t: Test, image: GenericContainer, tracker: Tracker, name: string) {
  const email = `${name}@example.com`
  const program = ({ as = email, dir = '/peer', ca = '/ca.crt' } = {}) => {
    return ['relay-client', '--tracker', tracker.url, '--ca', ca, '--email', as, '--dir', dir]
  }
  let output = ''
  const container = await image
    .withCommand([...program(), 'listen'])
    .withExtraHosts([{ host: TRACKER, ipAddress: tracker.address }])
    .withCopyContentToContainer([{ content: tracker.ca, target: '/ca.crt' }])
    .withLogConsumer((stream) => {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    })
    .withWaitStrategy(Wait.forLogMessage('is online at port'))
    .start()
    .catch((error) => {
      throw new Error(`${error.message}:\n${output}`)
    })
  t.teardown(() => container.stop({ timeout: 0 }))
  return {
    email,
    container,
    address: container.getIpAddress('bridge'),
    output: () => output,
    printed: (text: string) =>
      eventually(
        async () => output,
        (output) => output.includes(text)
      ),
    /** Runs the same program again, beside the listening one. */
    async run(args: string[], options?: Parameters<typeof program>[0]) {
      const { exitCode, output } = await container.exec([...program(options), ...args])
      return { exitCode, output }
    },
    async read(file: string) {
      return (await container.exec(['cat', file])).output
    },
    /** Stops it as Ctrl-C or a service manager does. */
    stop: () => container.stop({ timeout: 10_000 })
  }
}

/** This project's own `relay-peer up`, on this machine. */
export async function startRelayPeer(t: Test, tracker: Tracker, name: string) {
  const email = `${name}@example.com`
  const folder = t.testdir({ 'ca.crt': tracker.ca })
  const host = tracker.host
  const run = (...args: string[]) =>
    start(t, 'peer/src/command/main.ts', { args, env: { RELAY_PEER_DIR: join(folder, name) }, cwd: folder })
  const { code, output } = await run('init', '--tracker', tracker.localUrl, '--email', email, '--ca', 'ca.crt').ended
  if (code !== 0) throw new Error(output)
  const up = run('up', '--host', host)
  await up.printed('is online')
  return { email, up, connect: (email: string) => run('connect', email) }
}
