import type { PeerError } from '../index.ts'

/** What to do next, by the code of an error and, after `refused`, its reason. */
const ADVICE: Record<string, string> = {
  no_identity: 'make one: relay-peer init --tracker URL --email ADDRESS',
  other_identity: 'use another folder with --dir, or delete this identity: relay-peer forget',
  identity_damaged:
    'restore the file from a backup. Without one: relay-peer forget, then relay-peer init with another address, or the same if the tracker verifies e-mail',
  identity_unreadable: 'check who may read it, such as after a command with sudo. The identity may be intact',
  identity_not_saved: 'free some disk space, or check who may write there. Nothing was lost',
  already_running: 'end it first: relay-peer down',
  invalid_addresses: 'say where others can reach this machine: relay-peer up --address ADDRESS',
  peer_not_found: 'see who is online: relay-peer list',
  'refused not_online': 'go online first, with this identity: relay-peer up',
  'refused fingerprint_changed':
    'tell its owner your new fingerprint, which relay-peer show prints, so that they can trust it',
  'refused unavailable': 'try again when the tracker is back',
  'refused busy': 'try again later',
  impostor: 'nothing was sent to it. The peer may have gone without going offline first: try again later',
  own_identity: 'choose another peer: relay-peer list',
  fingerprint_changed: 'ask its owner for the new fingerprint. If it is this one: relay-peer trust EMAIL PRESENTED',
  peer_unreachable:
    'the peer may have just gone, or a firewall or router is in the way. See its addresses: relay-peer lookup ADDRESS',
  tracker_unreachable: 'check the network, and whether the URL is that of the tracker',
  tracker_untrusted:
    'if it is your own tracker, run relay-peer init again and add --ca FILE with its certificate; otherwise check the clock and the network',
  not_a_tracker: 'check the URL, and whether the network wants you to log in first',
  email_taken:
    'somebody else registered it, or you did with another identity: use that identity with --dir, or another address',
  email_unverified: 'open the link that the tracker sent to your address, and try again',
  certificate_unknown: 'register again: relay-peer init, with the same tracker and address',
  certificate_revoked: 'the operator of the tracker has blocked this identity: ask them why',
  certificate_expired: 'this identity is no longer valid: relay-peer forget --yes, then relay-peer init again'
}

/** The code of an error, and what to do next. */
export function explain(error: Error) {
  const { code = 'failed', reason, email, presented } = error as Partial<PeerError>
  const advice = ADVICE[[code, reason].filter(Boolean).join(' ')]
  return { code, advice: advice?.replace('EMAIL PRESENTED', `${email} ${presented}`) }
}
