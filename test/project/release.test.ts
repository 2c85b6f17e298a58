import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { validateWorkflow } from '@action-validator/core'
import t from 'tap'
import { parse } from 'yaml'

const { version, dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))

t.test('npm run sbom lists what the service needs at run time, and nothing else', async (t) => {
  const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'sbom'])
  const { bomFormat, metadata, components } = JSON.parse(stdout)
  t.equal(bomFormat, 'CycloneDX')
  t.equal(metadata.component.purl, `pkg:npm/relay-tracker-service@${version}`)
  const listed = components.map(({ purl }: { purl: string }) => decodeURIComponent(purl))
  const has = (name: string) => listed.some((purl: string) => purl.startsWith(`pkg:npm/${name}@`))
  for (const name of Object.keys(dependencies)) t.ok(has(name), name)
  for (const name of Object.keys(devDependencies)) {
    // A development dependency that a dependency needs too is in the image.
    const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
    t.equal(has(name), !packages[`node_modules/${name}`].dev, name)
  }
})

t.test('a release has the same version everywhere, and a dated section in CHANGELOG.md', (t) => {
  const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'))
  t.match(json('package-lock.json'), { version, packages: { '': { version } } })
  t.match(json('peer/package.json'), { version })
  t.match(json('openapi.json'), { info: { version } })
  const { images } = parse(readFileSync('examples/kubernetes/kustomization.yaml', 'utf8'))
  for (const { newTag } of images) t.equal(newTag, version)
  const [unreleased, released = ''] = readFileSync('CHANGELOG.md', 'utf8').match(/^## .*/gm) ?? []
  t.equal(unreleased, '## Unreleased')
  t.ok(released.startsWith(`## [${version}] - `), released)
  t.match(released, / - \d{4}-\d\d-\d\d$/)
  t.end()
})

t.test('every workflow is valid, has few rights and a time limit, and pins its actions', async (t) => {
  const folder = '.github/workflows'
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8')
    t.same(validateWorkflow(text).errors, [], file)
    const { permissions, jobs } = parse(text)
    t.same(permissions, { contents: 'read' }, file)
    for (const job of Object.values<{ 'timeout-minutes'?: number; steps: { uses?: string; run?: string }[] }>(jobs)) {
      t.type(job['timeout-minutes'], 'number', file)
      for (const { uses } of job.steps) if (uses) t.match(uses, /^[\w/-]+@[\da-f]{40}$/, file)
      t.ok(
        job.steps.some((step) => step.run === '.ci/run'),
        `${file} does what CI does`
      )
    }
  }
})
