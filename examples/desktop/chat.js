#!/usr/bin/env node
// A chat between peers of a Relay Tracker, with a page in the browser. `node chat.js --help` says how to start it.
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { RelayPeer } from 'relay-tracker/peer'
import { Conversations } from './conversations.js'
import { servePage } from './local-page.js'
import { People } from './people.js'
import { explain, explainState } from './words.js'

const USAGE = `Usage: node chat.js --dir FOLDER [--tracker URL --email ADDRESS] [--ca FILE] [--address IP]...

  --dir FOLDER     the folder of your identity, which is made the first time
  --tracker URL    the tracker, such as https://relay.example.com; needed the first time
  --email ADDRESS  your own address; needed the first time
  --ca FILE        the certificate (PEM) of the tracker or its authority, if it is not a public one
  --address IP     an address to announce instead of this computer's; may be repeated`

const options = readOptions()
const peer = await RelayPeer.open(options.open).catch((error) => fail(explain(error).text))
let page
const tell = (event) => page?.tell(event)
const conversations = new Conversations(peer, tell)
const people = new People(peer, tell, () => conversations.emails)

peer.on('connection', (socket, caller) => conversations.take(socket, caller.email))
peer.on('refused', (reason, address) => {
  if (reason.code === 'fingerprint_changed') conversations.warn(reason.email, reason)
  else tell({ type: 'notice', text: `A caller from ${address} was refused: ${reason.message}.` })
})
peer.on('rotated', () => tell(me()))
peer.on('state', (state) => {
  tell(explainState(state))
  if (state.name === 'online') people.follow() // a new peer may not ask before it is registered
  if (state.reason?.code === 'closed') end() // another process asked for it: `relay-peer down`
})

const pageFile = join(options.dir, 'page.url')
const port = await peer.listen({ accept: () => conversations.hasRoom })
await goOnline().catch(async (error) => {
  await peer.close()
  fail(error.code === 'already_running' ? await whereItRuns(error) : explain(error).text)
})

page = await servePage({
  /** What a newly opened page has to know. */
  snapshot: () => [
    { type: 'start' },
    me(),
    explainState(peer.state),
    people.tracker,
    people.list(),
    ...conversations.snapshot()
  ],
  actions: {
    call: ({ email }) => conversations.call(email),
    say: ({ email, text }) => conversations.say(email, text),
    'hang-up': ({ email }) => conversations.hangUp(email),
    trust({ email, fingerprint }) {
      peer.trust(email, fingerprint)
      return conversations.call(email)
    },
    'go-online': () => peer.state.name === 'stopped' && goOnline()
  }
})
rmSync(pageFile, { force: true })
writeFileSync(pageFile, page.url, { mode: 0o600, flag: 'wx' }) // whoever can read it can use the page
console.log(`The page of ${peer.email}: ${page.url}\nCtrl-C ends.`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end) // a second one kills it

async function end() {
  rmSync(pageFile, { force: true })
  conversations.close()
  page?.close()
  await peer.close() // tells the tracker, if it answers within 5 s
}

/** Announces this peer while the program runs. Resolves when this has begun: `state` says how it goes. */
async function goOnline() {
  const { addresses } = options
  const started = once(peer, 'state')
  const online = peer.announce({ port, addresses, capabilities: { chat: 1 } })
  online.catch(() => {}) // what happens after the start is in `state`
  await Promise.race([started, online])
}

function me() {
  return { type: 'me', email: peer.email, tracker: peer.tracker, fingerprint: peer.credentials.fingerprint }
}

/** A second start, such as by a double click, should lead to the page of the running program. */
async function whereItRuns(error) {
  const running = `${peer.email} is already running: ${error.message}.`
  try {
    const url = readFileSync(pageFile, 'utf8')
    const { ok } = await fetch(url)
    if (ok) return `${running}\nIts page: ${url}`
  } catch {} // it has been killed since, or is another program
  return running
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        dir: { type: 'string' },
        tracker: { type: 'string' },
        email: { type: 'string' },
        ca: { type: 'string' },
        address: { type: 'string', multiple: true },
        help: { type: 'boolean' }
      }
    })
    if (values.help) {
      console.log(USAGE)
      process.exit()
    }
    const { dir, tracker, email, address: addresses } = values
    if (!dir) throw new Error('--dir is missing')
    const ca = values.ca && readFileSync(values.ca, 'utf8')
    return { dir, addresses, open: { dir, tracker, email, ca } }
  } catch (error) {
    fail(`${error.message}\n${USAGE}`)
  }
}

function fail(message) {
  console.error(message)
  process.exit(1)
}
