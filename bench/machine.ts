import { execFile } from 'node:child_process'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { promisify } from 'node:util'
import type { Subject } from './subjects.ts'

/** The machine and the version that the figures belong to. */
export async function describeMachine(relay: Subject, stdiscosrv: Subject | undefined) {
  const git = async (...args: string[]) => (await promisify(execFile)('git', args)).stdout.trim()
  const nginx = await relay.exec('nginx', 'sh', '-c', 'nginx -V 2>&1')
  return {
    date: new Date().toISOString(),
    commit: (await git('rev-parse', 'HEAD')) + ((await git('status', '--porcelain')) && ' and changes'),
    cores: availableParallelism(),
    processor: cpus()[0]?.model,
    'memory (GiB)': Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: await relay.exec('api', 'node', '--version'),
    nginx: nginx.match(/nginx\/(\S+)/)?.[1],
    openssl: nginx.match(/OpenSSL (\S+)/)?.[1],
    postgres: (await relay.exec('postgres', 'postgres', '--version')).match(/[\d.]+/)?.[0],
    stdiscosrv: (await stdiscosrv?.exec('api', '/usr/bin/stdiscosrv', '-version'))?.split(' ')[1] ?? 'not installed'
  }
}
