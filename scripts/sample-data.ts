import { parseArgs } from 'node:util'
import { createSelfSigned, parseCertificate } from '../src/certificate.ts'
import { loadConfig } from '../src/config.ts'
import { createPool } from '../src/pool.ts'
import { run } from '../src/process.ts'
import { createRepository } from '../src/repository.ts'

/** `npm run sample-data -- [--peers 10]`: registers peers with certificates of their own and puts them online. */
await run(async () => {
  const { values } = parseArgs({ options: { peers: { type: 'string', default: '10' } } })
  const { DATABASE_URL, BROADCAST_TTL_SECONDS } = await loadConfig()
  const pool = createPool(DATABASE_URL)
  const repository = createRepository(pool)
  let added = 0
  try {
    for (let n = 1; n <= Number(values.peers); n++) {
      const email = `sample-${n}@example.com`
      const { certificate } = await createSelfSigned({ commonName: `Sample ${n}` })
      const client = await repository.register(email, parseCertificate(certificate), false)
      if ('conflict' in client) continue
      // TEST-NET-2, RFC 5737: addresses that belong to nobody.
      const announcement = { port: 40000 + n, addresses: [`198.51.100.${n % 256}`], capabilities: { sample: true } }
      await repository.announce(client.id, announcement, BROADCAST_TTL_SECONDS)
      added++
    }
  } finally {
    await pool.end()
  }
  console.log(`${added} sample peers added`)
})
