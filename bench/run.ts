import { existsSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startLoad } from './load.ts'
import { describeMachine } from './machine.ts'
import { createPeers } from './peers.ts'
import * as protocols from './protocols.ts'
import { failures, report, toJson } from './report.ts'
import { measureInTurn, type Result } from './rounds.ts'
import { type Bench, measureDaily, measureRegistrations, measureWithManyPeers } from './sections.ts'
import { startSubject } from './subjects.ts'

/** `npm run bench -- [--rounds 5] [--seconds 3] [--only <regular expression>] [--json <file>]` */
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    json: { type: 'string' }
  }
})
const only = new RegExp(options.only)
const rounds = Number(options.rounds)
const timing = { warmUp: 500, duration: 1000 * Number(options.seconds) }

/** Callers, each with a certificate of its own. */
const PEERS = 1000
/** Where Debian's package syncthing-discosrv puts it. */
const STDISCOSRV = '/usr/bin/stdiscosrv'

const interruption = new AbortController()
process.once('SIGINT', () => interruption.abort(new Error('interrupted')))
const { signal } = interruption
const interrupted = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
const teardowns: (() => Promise<unknown>)[] = []
const scope = { signal, teardown: (end: () => Promise<unknown>) => void teardowns.push(end) }

await Promise.race([main(), interrupted]).catch(fail)
for (const end of teardowns.reverse()) await end().catch(fail)

async function main() {
  const peers = await createPeers('peer', PEERS)
  const load = await startLoad(peers)
  scope.teardown(load.stop)

  const relay = await startSubject(scope, 'relay', protocols.relay)
  const ceiling = await startSubject(scope, 'ceiling', protocols.relay, 'bench/ceiling.yml')
  const stdiscosrv = existsSync(STDISCOSRV)
    ? await startSubject(scope, 'stdiscosrv', protocols.stdiscosrv, 'bench/stdiscosrv.yml')
    : undefined

  const results: Result[] = []
  const isWanted = (name: string) => only.test(name)
  const bench: Bench = {
    load,
    peers,
    relay,
    ceiling,
    // The relay's own nginx, where it answers itself.
    edge: { ...relay, name: 'edge', protocol: protocols.edge, containers: { nginx: relay.containers.nginx } },
    stdiscosrv,
    startLarge: () => startSubject(scope, 'large', protocols.relay),
    isWanted,
    async measure(operations) {
      const chosen = async (round: number) => (await operations(round)).filter(({ name }) => isWanted(name))
      const measured = await measureInTurn(load, rounds, timing, chosen)
      results.push(...measured)
      return measured
    }
  }
  await measureDaily(bench)
  await measureWithManyPeers(bench)
  await measureRegistrations(bench)

  const machine = await describeMachine(relay, stdiscosrv)
  console.log(report(machine, results))
  if (options.json) writeFileSync(options.json, toJson({ machine, rounds, timing }, results))
  if (failures(results).length > 0) throw new Error('not everything could be measured')
}

function fail(error: Error) {
  console.error(`bench: ${error.message}`)
  process.exitCode = 1
}
