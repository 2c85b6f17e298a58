import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { debianImage } from './debian-image.ts'

/** Starts Debian's promtool beside a copy of the folder `observability`; what it returns runs a command. */
export async function startPromtool(t: Test) {
  const image = await debianImage()
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

/** The queries of the dashboard's panels. */
export function dashboardQueries(): { panel: string; query: string }[] {
  const file = join(import.meta.dirname, '../../observability/grafana/dashboards/relay-tracker.json')
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[]
  }
  return panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ panel: title, query: expr.replaceAll('$__rate_interval', '1m') }))
  )
}
