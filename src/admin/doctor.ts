import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { loadConfig } from '../runtime/config.ts'
import { AdminError } from './admin-error.ts'
import { checkDatabase } from './check-database.ts'
import { checkEdge } from './check-edge.ts'
import { checkServerCertificate } from './check-server-certificate.ts'
import type { Finding } from './doctor-finding.ts'
import { harmless, print } from './terminal-output.ts'
import { type CommonOptions, verb } from './verb.ts'

interface DoctorOptions extends CommonOptions {
  edge?: URL
  ca?: string
  serverName?: string
}

/** `doctor`: looks whether all is well, and says of what is not how to mend it. */
export const doctor = verb(
  'doctor',
  'Check the database, its schema and rights, certificates, clocks, and the edge',
  'doctor',
  'doctor --edge https://relay.example.com',
  'doctor --edge https://localhost:8443 --ca .data/ca.crt'
)
  .option('--edge <url>', 'where peers reach the tracker', readUrl)
  .option('--ca <file>', "the edge's certificate, when no public authority vouches for it", readFile)
  .option('--server-name <name>', 'the name that the certificate of the edge is for; that in the URL otherwise')
  .action(async (options: DoctorOptions) => {
    const config = await loadConfig()
    const findings = await checkDatabase(config.DATABASE_URL)
    if (config.tls) findings.push(checkServerCertificate('server certificate', new X509Certificate(config.tls.cert)))
    if (options.edge) findings.push(...(await checkEdge(options.edge, options)))
    await print(options, findings, findings.map(toWords).join('\n'))
    const problems = findings.filter(({ status }) => status === 'problem').length
    if (problems > 0) throw new AdminError('failed', `${problems} of ${findings.length} checks found a problem`)
  })

function toWords({ check, status, message, remedy }: Finding) {
  const line = `${status.padEnd(7)}  ${check.padEnd(18)}  ${harmless(message)}`
  return remedy ? `${line}\n${' '.repeat(29)}${remedy}` : line
}

function readUrl(text: string) {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:') throw new AdminError('usage', `${text} is no URL that begins with https://`)
  return url
}

function readFile(path: string) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new AdminError('usage', `--ca: ${(error as Error).message}`)
  }
}
