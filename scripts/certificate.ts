import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSelfSigned, KEY_TYPES } from '../peer/src/self-signed.ts'
import { run } from '../src/process.ts'

const USAGE = `usage: npm run certificate -- NAME [--email ADDRESS] [--key p-256|rsa-2048] [--server HOST]... [--dir certs]
Makes a self-signed certificate (NAME.crt), its key (NAME.key) and, for a peer, the body of its registration (NAME.json).`

/** `npm run certificate`: makes a peer's certificate, or with `--server` a server's. */
await run(async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      email: { type: 'string' },
      key: { type: 'string', default: 'p-256' },
      server: { type: 'string', multiple: true, default: [] },
      dir: { type: 'string', default: 'certs' }
    }
  })
  const [name] = positionals
  if (!name || positionals.length > 1 || !Object.hasOwn(KEY_TYPES, values.key)) throw new Error(USAGE)

  const { certificate, privateKey } = await createSelfSigned({
    commonName: values.server[0] ?? name,
    hosts: values.server,
    keyType: values.key as keyof typeof KEY_TYPES
  })
  const path = join(values.dir, name)
  mkdirSync(values.dir, { recursive: true })
  writeFileSync(`${path}.crt`, certificate)
  writeFileSync(`${path}.key`, privateKey, { mode: 0o600 })
  console.log(`${path}.crt\n${path}.key`)
  if (values.server.length === 0) {
    writeFileSync(`${path}.json`, JSON.stringify({ email: values.email ?? `${name}@example.com`, certificate }))
    console.log(`${path}.json`)
  }
})
