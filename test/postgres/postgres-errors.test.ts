import t from 'tap'
import { isConnectionBroken, isDatabaseUnavailable } from '../../src/postgres/postgres-errors.ts'

const failed = (code?: string) => Object.assign(new Error('failed'), { code })

t.test('an error of a connection that broke is worth a second attempt', async (t) => {
  for (const code of ['57P01', '57P02', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE']) {
    t.ok(isConnectionBroken(failed(code)), code)
    t.ok(isDatabaseUnavailable(failed(code)), code)
  }
})

t.test('an error of a database that is unavailable or too busy is worth trying again later', async (t) => {
  for (const code of [
    ...['ECONNREFUSED', 'CONNECT_TIMEOUT', 'CONNECTION_ENDED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ETIMEDOUT'],
    ...['08006', '53300', '54000', '57P03', '57014', '25006']
  ]) {
    t.notOk(isConnectionBroken(failed(code)), code)
    t.ok(isDatabaseUnavailable(failed(code)), code)
  }
})

t.test('any other error is our own fault', async (t) => {
  for (const code of ['42P01', '22021', '23505', 'FST_ERR_VALIDATION', 'email_taken', undefined]) {
    t.notOk(isDatabaseUnavailable(failed(code)), code ?? 'none')
  }
  t.notOk(isDatabaseUnavailable(undefined))
})
