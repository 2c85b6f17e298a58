import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { ANNOUNCEMENT, type client } from './api.ts'
import { readShapes, type Shape } from './certificate-shapes.ts'

type Relay = ReturnType<typeof client>

const SHAPES = readShapes()
/** The tables of docs/CERTIFICATES.md: for each shape, the outcome at each edge. */
const DOCUMENTED = readTable()

/**
 * A certificate that can be registered has to be usable, although the edge does not see a registration that only has it in the body.
 *
 * @param inside where peers register with the body alone
 * @param outside where peers come back, through the edge if there is one
 */
export async function tryShapes(t: Test, edge: string, inside: Relay, outside: Relay) {
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
