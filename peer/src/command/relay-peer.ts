import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { createCommandLine, wholeNumber } from '../cli/command-line.ts'
import type { Surroundings } from '../cli/terminal.ts'
import { explain } from './advice.ts'

/**
 * `relay-peer`: a peer for people and scripts.
 *
 * @returns the exit code
 */
export function runRelayPeer(args: string[], surroundings: Surroundings): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  const { program, verbs, run } = createCommandLine(args, surroundings, {
    name: 'relay-peer',
    description: 'A peer that others find by e-mail address, and that finds them',
    version,
    exitCodes: {
      3: 'not online, or not found',
      4: 'another peer answered than the one that the tracker names',
      5: 'the tracker cannot be reached'
    },
    exitCodeOf: {
      invalid_tracker: 2,
      peer_not_found: 3,
      not_online: 3,
      impostor: 4,
      tracker_unreachable: 5,
      not_a_tracker: 5
    },
    explain
  })
  const { RELAY_PEER_DIR } = surroundings.env
  const dir = resolve(RELAY_PEER_DIR || join(homedir(), '.relay-peer'))
  const declare = verbs(program)
  const verb = (...declaration: Parameters<typeof declare>) =>
    declare(...declaration).option(
      '--dir <folder>',
      'the identity; by default RELAY_PEER_DIR or ~/.relay-peer',
      (folder) => resolve(folder),
      dir
    )

  verb(
    'init',
    'Make a key and a certificate, and register them with an e-mail address',
    [
      'init --tracker https://relay.example.com --email alice@example.com',
      'init --tracker https://localhost:8443 --ca .data/ca.crt --email bob@example.com --dir bob'
    ],
    async () => (await import('./init.ts')).init
  )
    .requiredOption('--tracker <url>', 'where the tracker is')
    .requiredOption('--email <address>', 'the address by which others find this peer')
    .option('--ca <file>', "the tracker's certificate, if no public authority vouches for it")
  verb(
    'up',
    'Go online, and stay online until Ctrl-C or relay-peer down. Prints the lines that peers send, and sends them what it reads',
    ['up', 'up --port 54321 --announce-only   # another program listens there'],
    async () => (await import('./up.ts')).up
  )
    .option('--port <number>', 'where to listen; by default any free port', wholeNumber(0, 65_535))
    .option('--host <address>', "the address to listen on; by default all of the machine's")
    .option('--ttl <seconds>', 'how long others still find this peer after it was cut off', wholeNumber(1, 86_400))
    .option('--announce-only', 'do not listen: another program does, at --port')
  verb(
    'lookup <email>',
    'Show where a peer is',
    ['lookup bob@example.com', 'lookup bob@example.com --json | jq -r .fingerprint'],
    async () => (await import('./lookup.ts')).lookup
  )
  verb(
    'list',
    'Show who is online',
    ['list', "list --json | jq -r '.[].email'"],
    async () => (await import('./list.ts')).list
  )
  verb(
    'watch',
    'Show who is online, live: a table on a terminal, otherwise a line for each change',
    ['watch', 'watch --json | jq -c \'select(.type == "online").peer.email\''],
    async () => (await import('./watch.ts')).watch
  )
  verb(
    'connect <email>',
    'Send stdin to a peer, and print what it sends, over a connection on which both have proved who they are',
    ['connect bob@example.com', 'connect bob@example.com < letter.txt'],
    async () => (await import('./connect.ts')).connect
  )
  verb(
    'rotate',
    'Replace key and certificate now, without interrupting anything (up does this by itself in time)',
    ['rotate'],
    async () => (await import('./rotate.ts')).rotate
  )
  verb('down', 'End the running up, and go offline', ['down'], async () => (await import('./down.ts')).down)
  verb(
    'forget',
    'Unregister, and delete key and certificate',
    ['forget', 'forget --yes'],
    async () => (await import('./forget.ts')).forget
  ).option('--yes', 'do not ask')
  return run()
}
