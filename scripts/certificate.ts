import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSelfSigned, KEY_TYPES } from '../peer/src/self-signed.ts'
import { renewServerCertificate } from '../src/http/server-certificate.ts'
import { run } from '../src/runtime/main-function.ts'

const USAGE = `usage: npm run certificate -- NAME [--email ADDRESS] [--key p-256|rsa-2048] [--dir certs]
       npm run certificate -- NAME --server HOST [--server HOST]... [--dir certs]
For a peer: makes a self-signed certificate (NAME.crt), its key (NAME.key) and the body of its registration (NAME.json).
For a server: makes a certificate (NAME.crt) and its key (NAME.key), issued by the authority ca.crt, which peers should trust. Run
again, it renews the certificate if that is due.`

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
  // `ca` is the authority's name.
  if (!name || name === 'ca' || positionals.length > 1 || !Object.hasOwn(KEY_TYPES, values.key)) throw new Error(USAGE)

  const path = join(values.dir, name)
  if (values.server.length > 0) {
    await renewServerCertificate(values.dir, values.server, name)
    console.log(`${path}.crt\n${path}.key\n${join(values.dir, 'ca.crt')}`)
    return
  }
  const email = values.email ?? `${name}@example.com`
  const keyType = values.key as keyof typeof KEY_TYPES
  const { certificate, privateKey } = await createSelfSigned({ commonName: name, email, keyType })
  mkdirSync(values.dir, { recursive: true })
  writeFileSync(`${path}.crt`, certificate)
  writeFileSync(`${path}.key`, privateKey, { mode: 0o600 })
  writeFileSync(`${path}.json`, JSON.stringify({ email, certificate }))
  console.log(`${path}.crt\n${path}.key\n${path}.json`)
})
