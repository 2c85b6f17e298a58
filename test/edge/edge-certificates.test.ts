import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'
import { EDGES, startBehind } from '../support/edge.ts'
import { NO_EDGE_LIMITS } from '../support/limits.ts'
import { tryShapes } from '../support/shape-outcomes.ts'

for (const kind of Object.keys(EDGES) as (keyof typeof EDGES)[]) {
  t.test(`a certificate of every accepted shape works behind ${kind}`, { skip: skipWithoutContainers }, async (t) => {
    const { api, relay } = await startBehind(t, kind, NO_EDGE_LIMITS)
    await tryShapes(t, kind, api.relay, relay)
  })
}
