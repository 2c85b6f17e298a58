import t from 'tap'
import { readDatabaseUrl } from '../../src/runtime/database-url.ts'

t.test('a URL may have one host', async (t) => {
  t.same(readDatabaseUrl('postgres://relay:a%2Fb@db/relay?lock_timeout=0&options=-c%20x'), {
    hosts: [{ name: 'db', port: 5432, url: 'postgres://relay:a%2Fb@db/relay?lock_timeout=0&options=-c%20x' }],
    target: undefined,
    tls: undefined
  })
  t.match(readDatabaseUrl('postgres://[2001:db8::1]:5433/relay'), { hosts: [{ name: '2001:db8::1', port: 5433 }] })
  t.match(readDatabaseUrl('postgres:///relay'), { hosts: [{ name: process.env.PGHOST ?? 'localhost', port: 5432 }] })
})

t.test('a URL of several hosts must name each', async (t) => {
  t.throws(() => readDatabaseUrl('postgres://db1,/relay'), { message: 'a host has no name' })
})

t.test('a URL of several hosts means the primary, unless it says otherwise', async (t) => {
  const url = 'postgresql://relay:a%40b@db1:5433,db2,[::1]/relay?sslmode=require&application_name=a%20b'
  t.same(readDatabaseUrl(url), {
    hosts: [
      { name: 'db1', port: 5433, url: 'postgresql://relay:a%40b@db1:5433/relay?application_name=a%20b' },
      { name: 'db2', port: 5432, url: 'postgresql://relay:a%40b@db2/relay?application_name=a%20b' },
      { name: '::1', port: 5432, url: 'postgresql://relay:a%40b@[::1]/relay?application_name=a%20b' }
    ],
    target: 'primary',
    tls: { mode: 'require', ca: undefined }
  })
  for (const [asked, target] of Object.entries({
    any: undefined,
    primary: 'primary',
    'read-write': 'primary',
    standby: 'standby'
  })) {
    t.equal(readDatabaseUrl(`postgres://a,b/relay?target_session_attrs=${asked}`).target, target, asked)
    t.equal(readDatabaseUrl(`postgres://a/relay?target_session_attrs=${asked}`).target, target, `${asked}, of one host`)
  }
})
