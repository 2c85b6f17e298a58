import { Identity } from '../../peer/src/identity/identity.ts'
import { holdRunningLock } from '../../peer/src/identity/running-lock.ts'

// What several processes of one application do with the same folder. Each line of output is a result.

const [act, dir = '', email = ''] = process.argv.slice(2)
const settings = { tracker: 'https://relay.example.com', email }

/** A first start, up to the call to the tracker. */
async function start() {
  const identity = await Identity.open(dir, settings)
  identity.claim()
  return identity
}

/** Everything that writes, again and again, until somebody ends it. */
async function wear() {
  for (let n = 0; ; n++) {
    const identity = await Identity.open(`${dir}/${n}`, settings)
    identity.claim()
    identity.save({ ca: undefined })
    identity.promote(await identity.makeNext())
    console.log(n)
  }
}

async function hold() {
  await holdRunningLock(dir, () => {})
  setInterval(() => {}, 1000)
  return process.pid
}

try {
  if (act === 'start') console.log((await start()).credentials.fingerprint)
  if (act === 'rotate') console.log((await Identity.load(dir).makeNext()).fingerprint)
  if (act === 'hold') console.log(await hold())
  if (act === 'wear') await wear()
} catch (error) {
  console.log((error as { code?: string }).code ?? error)
}
