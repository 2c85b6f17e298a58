import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { skipWithoutContainers } from '../support/containers.ts'

const FILE = 'examples/high-availability/docker-compose.yml'

interface Service {
  image: string
  scale?: number
  environment?: Record<string, string>
  volumes?: { type: string; source: string }[]
}

t.test('the high-availability example is complete', { skip: skipWithoutContainers }, async (t) => {
  const { PATH, HOME } = process.env
  const profiles = ['--profile', 'mail', '--profile', 'admin']
  const config = execFileSync('docker', ['compose', '--file', FILE, ...profiles, 'config', '--format', 'json'], {
    encoding: 'utf8',
    env: { PATH, HOME }
  })
  const byName: Record<string, Service> = JSON.parse(config).services
  const services = Object.values(byName)
  const count = (image: string) => services.filter((service) => service.image === image).length
  t.equal(count('relay-tracker-database'), 7)
  t.equal(count('nginx:stable'), 2)
  t.equal(byName.api?.scale, 3)
  const urls = services.flatMap(({ environment }) => environment?.DATABASE_URL ?? [])
  t.equal(urls.length, 5)
  for (const url of urls) t.match(url, /^postgres:\/\/relay_\w+@postgres1,postgres2,postgres3\/relay$/)
  t.notMatch(config, /PASSWORD":/, 'no password stands in it')
  const own = ['nginx', 'postgres'].map((folder) => join(process.cwd(), folder, '/'))
  const files = new Set(
    services
      .flatMap(({ volumes = [] }) => volumes.map(({ source }) => source))
      .filter((source) => own.some((folder) => source.startsWith(folder)))
  )
  t.equal(files.size, 9, [...files].join())
  for (const file of files) t.ok(existsSync(file), file)
})
