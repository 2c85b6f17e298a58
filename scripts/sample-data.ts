import { parseArgs } from 'node:util'
import { createSelfSigned } from '../peer/src/self-signed.ts'
import type { Caller } from '../src/identity/authentication.ts'
import { parseCertificate } from '../src/identity/certificate.ts'
import { createPool } from '../src/postgres/pool.ts'
import { createRepository } from '../src/repository.ts'
import { loadConfig } from '../src/runtime/config.ts'
import { run } from '../src/runtime/main-function.ts'

/** `npm run sample-data -- [--peers 10]`: registers peers with their own certificates and puts them online. */
await run(async () => {
  const { values } = parseArgs({ options: { peers: { type: 'string', default: '10' } } })
  const { DATABASE_URL, BROADCAST_TTL_SECONDS } = await loadConfig()
  const pool = createPool(DATABASE_URL)
  const repository = createRepository(pool)
  let added = 0
  try {
    for (let n = 1; n <= Number(values.peers); n++) {
      const email = `sample-${n}@example.com`
      const certificate = parseCertificate((await createSelfSigned({ commonName: `Sample ${n}` })).certificate)
      const client = await repository.clients.register(email, certificate, false)
      if ('conflict' in client) continue
      // TEST-NET-2 of RFC 5737, which belongs to nobody.
      const address = `198.51.100.${n % 256}`
      const caller = { fingerprint: certificate.fingerprint, checkedBy: (ask) => ask() } as Caller
      const announcement = {
        port: 40000 + n,
        addresses: [address],
        observed_address: address,
        capabilities: { sample: true },
        ttl: BROADCAST_TTL_SECONDS
      }
      await repository.broadcasts.announce(caller, announcement)
      added++
    }
  } finally {
    await pool.end()
  }
  console.log(`${added} sample peers added`)
})
