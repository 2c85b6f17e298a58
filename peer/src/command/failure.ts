import { CommanderError } from 'commander'

/** Documented in the help. */
export const EXIT_CODES = `
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  not online, or not found
  4  who answered is not the one that the tracker names
  5  the tracker cannot be reached
  141  nobody reads the output any more`

/** As a shell has it of a command that SIGPIPE, which Node.js ignores, has ended: 128 and its number. */
export const BROKEN_PIPE = 141

const EXIT_CODE: Record<string, number> = {
  usage: 2,
  invalid_tracker: 2,
  peer_not_found: 3,
  not_online: 3,
  impostor: 4,
  tracker_unreachable: 5,
  not_a_tracker: 5
}

/** What to do next. */
const ADVICE: Record<string, string> = {
  no_identity: 'make one: relay-peer init --tracker URL --email ADDRESS',
  other_identity: 'name another folder with --dir, or remove what is there: relay-peer forget',
  invalid_tracker: 'give the address of the tracker, such as --tracker https://relay.example.com',
  already_up: 'end that one: relay-peer down',
  peer_not_found: 'see who is: relay-peer list',
  not_online: 'peers take calls only from who is online, so go online first: relay-peer up',
  impostor: 'nothing was sent to it. The one you look for may have gone, and not have withdrawn: try again later',
  peer_unreachable:
    'a firewall or a router may be in between, or it has just gone: relay-peer lookup shows where it says it is',
  broken_off: 'it may not accept you: relay-peer up, on this side, has to be running with the same identity',
  tracker_unreachable: 'see whether the address and the network are right; relay-peer init says which tracker it is',
  not_a_tracker: 'see whether the address is right, and whether the network wants you to log in first',
  email_taken: 'somebody else has it, or you on another machine: use that identity, or another address',
  email_unverified: 'open the link that the tracker sent to your address, and try again',
  certificate_unknown: 'register again: relay-peer init, with the same address',
  certificate_revoked: 'who runs the tracker has refused this identity: ask them why',
  certificate_expired: 'this identity is over: relay-peer forget --yes, and relay-peer init again'
}

/** How OpenSSL says that nobody vouches for the tracker's certificate. */
const UNTRUSTED = ['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE']

/** Something that the command itself refuses. */
export class CommandError extends Error {
  readonly code: string

  constructor(code: 'usage' | 'already_up' | 'not_ended' | 'broken_off' | 'declined', message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Says what went wrong and what to do next, on stderr.
 *
 * @returns the exit code
 */
export function report(error: unknown, { json }: { json: boolean }): number {
  // Commander has said it already, and 0 is for --help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const { message, code = 'failed', cause } = error as Error & { code?: string; cause?: { code?: string } }
  const isUntrusted = UNTRUSTED.includes(String(cause?.code))
  const advice = isUntrusted
    ? 'if it is your own tracker, name its certificate: relay-peer init --ca FILE'
    : ADVICE[code]
  if (json) console.error(JSON.stringify({ error: message, code, advice }))
  else console.error(`relay-peer: ${message}${advice ? `\n${advice}` : ''}`)
  return EXIT_CODE[code] ?? 1
}
