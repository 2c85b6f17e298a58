// What the user reads when something does not work. The codes are in relay-tracker's REFERENCE.md.

const TRACKER = {
  ENOTFOUND: 'There is no tracker with this name. Is the name right, and is this computer online?',
  EAI_AGAIN: 'The tracker’s name cannot be looked up. Is this computer online?',
  ECONNREFUSED: 'Nothing answers at the address of the tracker. Either it is not running, or the address is wrong.'
}

const ADDRESS = {
  ECONNREFUSED: 'nothing listens there any more',
  EHOSTUNREACH: 'there is no such computer',
  ENETUNREACH: 'this computer has no route there',
  ETIMEDOUT: 'no answer',
  timeout: 'no answer',
  other_peer: 'somebody else answers there',
  own_identity: 'this computer itself answers there'
}

const REFUSED = {
  not_online: 'the tracker says that you are not online. Go online first',
  declined: 'they have too many conversations. Try again later',
  fingerprint_changed: 'they know you by another certificate. Tell them your fingerprint, so that they can trust it',
  unavailable: 'they cannot ask the tracker who you are. Try again later',
  busy: 'they have too many callers. Try again later'
}

/** @param email that of the peer that you called, or that called you */
const WORDS = {
  tracker_unreachable: ({ cause, message }) => TRACKER[cause?.code] ?? sentence(message),
  tracker_untrusted: ({ message }) =>
    `${sentence(message)} Nothing was sent to it. This network may want you to log in first, or --ca has to name the tracker’s certificate.`,
  not_a_tracker: () =>
    'What answers is not a tracker. Is the address right, or does this network want you to log in first?',
  email_unverified: () => 'Open the link in the e-mail that the tracker sent you.',
  email_taken: () => 'Your address is already registered, by somebody else or by you on another computer.',
  certificate_unknown: () => 'The tracker does not know you.',
  certificate_revoked: () => 'The operator of the tracker has blocked you. Ask them why.',
  peer_not_found: (_, email) => `${email} is not online.`,
  peer_unreachable: ({ attempts, message }, email) =>
    attempts ? `${email} cannot be reached at any of its addresses:` : `${message}.`,
  impostor: (_, email) =>
    `Somebody else answers at the address of ${email}. Nothing was sent to them. ${email} may have just left.`,
  own_identity: () => 'This is you.',
  refused: ({ reason, message }, email) => `${email} does not accept you: ${REFUSED[reason] ?? message}.`,
  fingerprint_changed: (_, email) =>
    `${email} has a new certificate. Either they have installed the program again, or somebody is posing as them.`,
  no_identity: ({ message }) => `${sentence(message)} Add --tracker and --email to make one.`,
  identity_damaged: ({ message }) =>
    `${sentence(message)} Restore the file from a backup, or delete the folder and start again with another address.`,
  identity_unreadable: ({ message }) => `${sentence(message)} It may be intact. Check who may read it.`,
  identity_not_saved: ({ message }) =>
    `${sentence(message)} Nothing was lost. Free some disk space, or check who may write there.`,
  other_identity: ({ message }) => `${sentence(message)} Use another folder with --dir.`
}

/** @returns `text`; why each address failed (`attempts`); the `known` fingerprint, and the `presented` one, which may be trusted */
export function explain(error, email) {
  const { code, attempts, known, presented } = error
  const text = WORDS[code]?.(error, email) ?? sentence(error.message)
  const reasons = attempts?.map(
    ({ address, port, code, message }) => `${address} port ${port}: ${ADDRESS[code] ?? message}`
  )
  return { code, text, attempts: reasons, known, presented }
}

/** Whether others can find you, as an event for the page. */
export function explainState({ name, reason, nextAttempt, until }) {
  const text = reason ? explain(reason).text : ''
  return { type: 'state', name, text, nextAttempt: nextAttempt?.getTime(), until: until?.getTime() }
}

/** The library's messages are half sentences. */
function sentence(message) {
  return `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, '')}.`
}
