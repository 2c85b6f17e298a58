import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { ANNOUNCEMENT, type client, startApi } from '../support/api.ts'
import { readShapes, type Shape } from '../support/certificate-shapes.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { EDGES, startBehind } from '../support/edge.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'

type Relay = ReturnType<typeof client>

const SHAPES = readShapes()
/** The tables of docs/CERTIFICATES.md: for each shape, the outcome at each edge. */
const DOCUMENTED = readTable()

t.test('a certificate of every accepted shape works with direct TLS', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['localhost'] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const { url: database } = await createDatabase(t)
  const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
  const { relay } = await startApi(t, { database, env })
  await tryAll(t, 'direct TLS', relay, relay)
})

for (const kind of Object.keys(EDGES) as (keyof typeof EDGES)[]) {
  t.test(kind, { skip: skipWithoutContainers }, async (t) => {
    const { api, relay } = await startBehind(t, kind, NO_EDGE_LIMITS)
    await tryAll(t, kind, api.relay, relay)
  })
}

/**
 * A certificate that can be registered has to be usable, although the edge does not see a registration that only has it in the body.
 *
 * @param inside where peers register with the body alone
 * @param outside where peers come back, through the edge if there is one
 */
async function tryAll(t: Test, edge: string, inside: Relay, outside: Relay) {
  for (const shape of SHAPES) {
    const { status, body } = await inside.register(shape)
    const outcome = status === 200 ? await comeBack(outside, shape) : body.code
    t.equal(outcome, DOCUMENTED.get(shape.name)?.get(edge), shape.name)
    if (body.code === 'proof_required') t.equal(await prove(outside, shape), 'refused', `${shape.name}, with proof`)
  }
}

/** The calls of a peer with its certificate, each on its own connection. */
async function comeBack(relay: Relay, shape: Shape) {
  for (const [call, expected] of [
    [() => relay.ready(shape, { ...ANNOUNCEMENT, ttl: 60 }), 200],
    [() => relay.own(shape), 200],
    [() => relay.unregister(shape), 204]
  ] as const) {
    const { status, body } = await call()
    if (status !== expected) return `${status} ${body.code}`
  }
  return 'yes'
}

/** Nobody can prove a certificate that the edge refuses, so no peer registers that could not come back. */
async function prove(relay: Relay, shape: Shape) {
  const answer = await relay.register(shape, { as: shape }).catch(() => undefined)
  if (answer?.status === 200) return comeBack(relay, shape)
  return answer === undefined || answer.body.code === 'proof_required' ? 'refused' : answer.body.code
}

function readTable() {
  const text = readFileSync('docs/CERTIFICATES.md', 'utf8')
  const rows = [...text.matchAll(/^\| `(.+?)` \|(.+)\|$/gm)]
  const [, heading = ''] = /^\| shape \|(.+)\|$/m.exec(text) ?? []
  const cells = (row: string) => row.split('|').map((cell) => cell.trim().replaceAll('`', ''))
  const edges = cells(heading)
  return new Map(
    rows.map(([, name, row = '']) => [name, new Map(cells(row).map((cell, n) => [edges[n] as string, cell]))])
  )
}
