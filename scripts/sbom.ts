import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../src/runtime/main-function.ts'

const root = join(import.meta.dirname, '..')

/**
 * `npm run sbom`: prints what is in the image, as CycloneDX JSON.
 *
 * `npm sbom --omit dev` also omits what both the service and a development dependency need, so it gets a lock file without development
 * dependencies.
 */
await run(async () => {
  const parent = mkdtempSync(join(tmpdir(), 'sbom-'))
  try {
    const manifest = read('package.json')
    const lock = read('package-lock.json')
    for (const one of [manifest, lock.packages['']]) {
      delete one.devDependencies
      delete one.optionalDependencies
    }
    const shipped = Object.entries<Entry>(lock.packages).filter(([, { dev, optional, devOptional }]) => {
      return !(dev || optional || devOptional)
    })
    const folder = join(parent, manifest.name) // npm takes the component's name from it
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ ...lock, packages: Object.fromEntries(shipped) }))
    const options = ['--package-lock-only', '--sbom-format=cyclonedx', '--sbom-type=application']
    execFileSync('npm', ['sbom', ...options], { cwd: folder, stdio: 'inherit' })
  } finally {
    rmSync(parent, { recursive: true })
  }
})

interface Entry {
  dev?: boolean
  optional?: boolean
  devOptional?: boolean
}

function read(file: string) {
  return JSON.parse(readFileSync(join(root, file), 'utf8'))
}
