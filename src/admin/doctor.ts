import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { CommandError, type Terminal } from '../../peer/src/cli/terminal.ts'
import { harmless } from '../../peer/src/cli/text.ts'
import { loadConfig } from '../runtime/config.ts'
import { checkDatabase } from './check-database.ts'
import { checkEdge } from './check-edge.ts'
import { checkServerCertificate } from './check-server-certificate.ts'
import type { Finding } from './doctor-finding.ts'

/** `doctor`: checks whether all is well, and says how to fix what is not. */
export async function doctor(terminal: Terminal, options: { edge?: string; ca?: string; serverName?: string }) {
  const edge = options.edge === undefined ? undefined : readUrl(options.edge)
  const ca = options.ca === undefined ? undefined : readFile(options.ca)
  const config = await loadConfig(terminal.env)
  const findings = await checkDatabase(config.DATABASE_URL)
  if (config.tls) findings.push(checkServerCertificate('server certificate', new X509Certificate(config.tls.cert)))
  if (edge) findings.push(...(await checkEdge(edge, { ca, serverName: options.serverName })))
  terminal.print(findings, findings.map(toWords).join('\n'))
  const problems = findings.filter(({ status }) => status === 'problem').length
  if (problems > 0) throw new CommandError('failed', `${problems} of ${findings.length} checks found a problem`)
}

function toWords({ check, status, message, remedy }: Finding) {
  const line = `${status.padEnd(7)}  ${check.padEnd(18)}  ${harmless(message)}`
  return remedy ? `${line}\n${' '.repeat(29)}${remedy}` : line
}

function readUrl(text: string) {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:') throw new CommandError('usage', `${text} is not a URL that begins with https://`)
  return url
}

function readFile(path: string) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new CommandError('usage', `--ca: ${(error as Error).message}`)
  }
}
