import { join } from 'node:path'
import t from 'tap'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { startApi } from '../support/api.ts'
import { createDatabase } from '../support/database.ts'
import { tryShapes } from '../support/shape-outcomes.ts'

t.test('a certificate of every accepted shape works with direct TLS', async (t) => {
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'localhost', hosts: ['localhost'] })
  const dir = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })
  const { url: database } = await createDatabase(t)
  const env = { TLS_CERT_PATH: join(dir, 'server.crt'), TLS_KEY_PATH: join(dir, 'server.key') }
  const { relay } = await startApi(t, { database, env })
  await tryShapes(t, 'direct TLS', relay, relay)
})
