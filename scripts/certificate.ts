import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSelfSigned, KEY_TYPES } from '../peer/src/self-signed.ts'
import { renewServerCertificate } from '../src/http/server-certificate.ts'
import { lockFolder } from '../src/runtime/data-folder.ts'
import { run } from '../src/runtime/main-function.ts'

const USAGE = `usage: npm run certificate -- NAME [--email ADDRESS] [--key p-256|rsa-2048] [--dir certs]
       npm run certificate -- NAME --server HOST [--server HOST]... [--dir certs]
For a peer: makes a self-signed certificate (NAME.crt), its key (NAME.key) and the body of its registration (NAME.json). It never
replaces a file: a new key would be another identity.
For a server: makes a certificate (NAME.crt) and its key (NAME.key), issued by the authority ca.crt, which peers should trust. Run
again, it renews the certificate if that is due. It replaces only what this authority has issued.`

/** `npm run certificate`: makes a peer's certificate, or with `--server` a server's. */
await run(async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      email: { type: 'string' },
      key: { type: 'string', default: 'p-256' },
      server: { type: 'string', multiple: true, default: [] },
      dir: { type: 'string', default: 'certs' },
      help: { type: 'boolean', short: 'h' }
    }
  })
  if (values.help) return console.log(USAGE)
  const [name] = positionals
  // `ca` is the authority's name.
  if (!name || name === 'ca' || positionals.length > 1 || !Object.hasOwn(KEY_TYPES, values.key)) throw new Error(USAGE)

  mkdirSync(values.dir, { recursive: true })
  if (values.server.length > 0) return makeForServer(values.dir, name, values.server)
  await makeForPeer(join(values.dir, name), {
    commonName: name,
    email: values.email ?? `${name}@example.com`,
    keyType: values.key as keyof typeof KEY_TYPES
  })
})

async function makeForServer(dir: string, name: string, hosts: string[]) {
  if (!lockFolder(dir)) throw new Error(`${dir} is in use by another process: try again when that has ended`)
  const [path, authority] = [join(dir, name), join(dir, 'ca.crt')]
  if ((await renewServerCertificate(dir, hosts, name)) === 'foreign') {
    throw new Error(`${path}.crt was not issued by ${authority}, and is left alone: choose another name or --dir`)
  }
  console.log(`${path}.crt\n${path}.key\n${authority}`)
}

async function makeForPeer(path: string, options: Parameters<typeof createSelfSigned>[0]) {
  const { certificate, privateKey } = await createSelfSigned(options)
  createFiles({
    [`${path}.key`]: { text: privateKey, mode: 0o600 },
    [`${path}.crt`]: { text: certificate, mode: 0o644 },
    [`${path}.json`]: { text: JSON.stringify({ email: options.email, certificate }), mode: 0o644 }
  })
  console.log(`${path}.crt\n${path}.key\n${path}.json`)
}

/** Creates all of these files or none. Of two processes at once, one fails. */
function createFiles(files: Record<string, { text: string; mode: number }>) {
  const created: string[] = []
  for (const [file, { text, mode }] of Object.entries(files)) {
    try {
      writeFileSync(file, text, { flag: 'wx', mode })
    } catch (error) {
      const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
      for (const own of exists ? created : [...created, file]) rmSync(own, { force: true })
      if (!exists) throw error
      throw new Error(`${file} exists already, and nothing was replaced: choose another name or --dir, or move it away`)
    }
    created.push(file)
  }
}
