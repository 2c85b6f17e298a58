import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Option } from 'commander'
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
    description: 'A peer: others find it by its e-mail address, and it finds them',
    version,
    exitCodes: {
      3: 'the peer, or this one, is not online; or the peer refused',
      4: 'the wrong peer answered, or a known peer has a new certificate',
      5: 'the tracker cannot be reached or trusted'
    },
    exitCodeOf: {
      invalid_argument: 2,
      invalid_email: 2,
      peer_not_found: 3,
      refused: 3,
      impostor: 4,
      fingerprint_changed: 4,
      tracker_unreachable: 5,
      tracker_untrusted: 5,
      not_a_tracker: 5
    },
    explain
  })
  const { RELAY_PEER_DIR } = surroundings.env
  const dir = resolve(RELAY_PEER_DIR || join(homedir(), '.relay-peer'))
  const declare = verbs(program)
  const verb = (...declaration: Parameters<typeof declare>) =>
    declare(...declaration).addOption(
      new Option('--dir <folder>', 'the folder of the identity')
        .default(dir, 'RELAY_PEER_DIR or ~/.relay-peer')
        .argParser((folder) => resolve(folder))
    )

  verb(
    'init',
    'Make a key and a certificate, and register them with an e-mail address (safe to repeat)',
    [
      'init --tracker https://relay.example.com --email alice@example.com',
      'init --tracker https://localhost:8443 --ca .data/ca.crt --email bob@example.com --dir bob'
    ],
    async () => (await import('./init.ts')).init
  )
    .requiredOption('--tracker <url>', 'where the tracker is')
    .requiredOption('--email <address>', 'the e-mail address by which others find this peer')
    .option('--ca <file>', "the tracker's certificate or its authority's (PEM), if it is not a public one")
  verb(
    'up',
    'Stay online until Ctrl-C or relay-peer down; print the lines that peers send, and send them stdin',
    ['up', 'up --port 54321 --announce-only   # another program listens there'],
    async () => (await import('./up.ts')).up
  )
    .option(
      '--port <number>',
      'where to listen; by default the port of the last time, or else any free one',
      wholeNumber(0, 65_535)
    )
    .option('--host <address>', "the address to listen on; by default all of the machine's")
    .option('--address <address...>', "the addresses to announce instead of this machine's")
    .option('--ttl <seconds>', 'how long others still find this peer after it is cut off', wholeNumber(1, 86_400))
    .option('--announce-only', 'do not listen, because another program does, on --port')
  verb(
    'show',
    'Show this identity, with its fingerprint',
    ['show', 'show --json | jq -r .fingerprint'],
    async () => (await import('./show.ts')).show
  )
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
    'Show who is online as it changes: a table on a terminal, otherwise a line for each change',
    ['watch', 'watch --json | jq -c \'select(.type == "online").peer.email\''],
    async () => (await import('./watch.ts')).watch
  )
  verb(
    'connect <email>',
    'Send stdin to a peer and print what it sends, once both have proved who they are',
    ['connect bob@example.com', 'connect bob@example.com < letter.txt'],
    async () => (await import('./connect.ts')).connect
  )
  verb(
    'known',
    'Show the peers that this one has connected with, and their fingerprints',
    ['known', "known --json | jq -r '.[].email'"],
    async () => (await import('./known.ts')).known
  )
  verb(
    'trust <email> <fingerprint>',
    'Accept the new certificate of a known peer; first ask its owner for the fingerprint',
    ['trust bob@example.com eswsUzU5reKfoCsrpIk5WrTkDzSy3ZTRPQ7tR2p_Xl4'],
    async () => (await import('./trust.ts')).trust
  )
  verb(
    'rotate',
    'Replace key and certificate now, without interrupting anything (up does this when it is due)',
    ['rotate'],
    async () => (await import('./rotate.ts')).rotate
  )
  verb(
    'down',
    'End the relay-peer up that is running, and go offline',
    ['down'],
    async () => (await import('./down.ts')).down
  )
  verb(
    'forget',
    'Unregister, and delete the key, the certificate and the known peers',
    ['forget', 'forget --yes'],
    async () => (await import('./forget.ts')).forget
  ).option('--yes', 'do not ask')
  return run()
}
