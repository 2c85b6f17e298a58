import t from 'tap'
import { isConnectionBroken, isDatabaseAway } from '../../src/postgres/postgres-client.ts'

const failed = (code?: string) => Object.assign(new Error('failed'), { code })

t.test('which errors mean that the connection broke, so that a second attempt makes sense', async (t) => {
  for (const code of ['57P01', '57P02', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE']) {
    t.ok(isConnectionBroken(failed(code)), code)
    t.ok(isDatabaseAway(failed(code)), code)
  }
})

t.test('which mean that the database is away or too busy', async (t) => {
  for (const code of [
    ...['ECONNREFUSED', 'CONNECT_TIMEOUT', 'CONNECTION_ENDED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ETIMEDOUT'],
    ...['08006', '53300', '54000', '57P03', '57014', '25006']
  ]) {
    t.notOk(isConnectionBroken(failed(code)), code)
    t.ok(isDatabaseAway(failed(code)), code)
  }
})

t.test('and which are faults of our own', async (t) => {
  for (const code of ['42P01', '22021', '23505', 'FST_ERR_VALIDATION', 'email_taken', undefined]) {
    t.notOk(isDatabaseAway(failed(code)), code ?? 'none')
  }
  t.notOk(isDatabaseAway(undefined))
})
