import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { skipWithoutContainers } from './helper.ts'

const FILE = 'examples/high-availability/docker-compose.yml'

t.test('the example for several machines is whole', { skip: skipWithoutContainers }, async (t) => {
  const { PATH, HOME } = process.env
  const config = execFileSync(
    'docker',
    ['compose', '--file', FILE, '--profile', 'mail', '--profile', 'admin', 'config'],
    {
      encoding: 'utf8',
      env: { PATH, HOME }
    }
  )
  for (const [what, count] of [
    [/image: relay-tracker-database$/gm, 7],
    [/image: nginx:stable$/gm, 2],
    [/(scale|replicas): 3$/gm, 1],
    [/DATABASE_URL: postgres:\/\/relay_\w+@postgres1,postgres2,postgres3\/relay$/gm, 5]
  ] as [RegExp, number][]) {
    t.equal(config.match(what)?.length, count, `${count} of ${what}`)
  }
  t.notMatch(config, /PASSWORD: /, 'no password stands in it')
  const files = new Set(config.match(new RegExp(`${process.cwd()}/(nginx|postgres)/[^\\s:]+`, 'g')))
  t.equal(files.size, 7, [...files].join())
  for (const file of files) t.ok(existsSync(file), file)
})
