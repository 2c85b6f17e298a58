import { join } from 'node:path'
import type { Test } from 'tap'
import { GenericContainer } from 'testcontainers'

/** Debian's Prometheus, in place of prom/prometheus, which a machine without a registry cannot have. */
export const PROMETHEUS_IMAGE = 'relay-tracker-test-prometheus'

/** Builds the image; an unchanged one is there already. */
export async function buildPrometheus() {
  return GenericContainer.fromDockerfile(join(import.meta.dirname, 'prometheus')).build(PROMETHEUS_IMAGE, {
    deleteOnExit: false
  })
}

/** Runs Debian's promtool, over the folder `observability`, on what `files` has beside it. */
export async function startPromtool(t: Test) {
  const image = await buildPrometheus()
  const container = await image
    .withEntrypoint(['sleep', 'infinity'])
    .withCopyDirectoriesToContainer([{ source: 'observability', target: '/observability' }])
    .start()
  t.teardown(() => container.stop({ timeout: 0 }))
  return async (command: string, input = '') => {
    await container.copyContentToContainer([{ content: input, target: '/tmp/input' }])
    return container.exec(['sh', '-c', `promtool ${command} < /tmp/input`])
  }
}
