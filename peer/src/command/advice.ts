/** What to do next, by the code of an error. */
const ADVICE: Record<string, string> = {
  no_identity: 'make one: relay-peer init --tracker URL --email ADDRESS',
  other_identity: 'name another folder with --dir, or relay-peer forget; if it was never registered, delete the folder',
  invalid_tracker: 'give the address of the tracker, such as --tracker https://relay.example.com',
  already_up: 'end it first: relay-peer down',
  peer_not_found: 'see who is online: relay-peer list',
  not_online: 'peers take calls only from peers that are online: relay-peer up',
  impostor: 'nothing was sent to it. The peer may have gone without withdrawing: try again later',
  peer_unreachable:
    'a firewall or a router may be in between, or the peer has just gone: relay-peer lookup shows where it says it is',
  broken_off: 'the peer may not accept you: relay-peer up has to be running here, with the same identity',
  tracker_unreachable: 'check the address and the network; relay-peer init says which tracker it is',
  not_a_tracker: 'check the address, and whether the network wants you to log in first',
  email_taken: 'somebody else has registered it, or you have on another machine: use that identity, or another address',
  email_unverified: 'open the link that the tracker sent to your address, and try again',
  certificate_unknown: 'register again: relay-peer init, with the same address',
  certificate_revoked: 'the operator of the tracker has refused this identity: ask them why',
  certificate_expired: 'this identity is no longer valid: relay-peer forget --yes, then relay-peer init again'
}

/** OpenSSL's codes for a certificate of an unknown authority. */
const UNTRUSTED = ['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE']

/** The code of an error, and what to do next. */
export function explain(error: Error) {
  const { code = 'failed', cause } = error as { code?: string; cause?: { code?: string } }
  const isUntrusted = UNTRUSTED.includes(String(cause?.code))
  const advice = isUntrusted
    ? 'if it is your own tracker, name its certificate: relay-peer init --ca FILE'
    : ADVICE[code]
  return { code, advice }
}
