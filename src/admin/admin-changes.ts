import pino from 'pino'
import { CommandError, type Terminal } from '../../peer/src/cli/terminal.ts'
import { type AdminEvent, audit } from '../observability/audit.ts'
import { type Client, createAdministration } from './admin.repository.ts'
import { withDatabase } from './admin-database.ts'
import { findOrThrow } from './client-name.ts'

interface Change {
  event: AdminEvent['event']
  /** Asked first if it cannot be undone. */
  question?: (emails: string) => string
  /** Said after the e-mail address. */
  done: string
  /** Said if there was nothing to change. */
  already: string
}

/** `clients revoke`: every API process refuses the next request with the certificate. */
export const revoke = changeEach({ event: 'revoke', done: 'is revoked', already: 'was already revoked' })

/** `clients restore`: as if it had never been revoked. */
export const restore = changeEach({ event: 'restore', done: 'is restored', already: 'was not revoked' })

/** `clients delete`: as if it had never registered. */
export const remove = changeEach({
  event: 'delete',
  question: (emails) => `Delete ${emails}?`,
  done: 'is deleted',
  already: 'was already gone'
})

/** `broadcasts drop`: a client is offline until it announces itself again. */
export const drop = changeEach({
  event: 'drop',
  question: (emails) => `Take ${emails} offline?`,
  done: 'is offline',
  already: 'was already offline'
})

/** A verb that changes each of the named clients, or none if one of them does not exist. */
function changeEach({ event, question, done, already }: Change) {
  return (terminal: Terminal, names: string[], { yes = false, reason }: { yes?: boolean; reason?: string }) => {
    if (reason !== undefined && !/^.{1,500}$/s.test(reason)) {
      throw new CommandError('usage', 'a reason has 1 to 500 characters')
    }
    return withDatabase(terminal, async (sql) => {
      const administration = createAdministration(sql)
      const clients: Client[] = []
      for (const name of names) clients.push(await findOrThrow(name, administration.find))
      if (question && !yes) {
        const emails = clients.map(({ email }) => email).join(', ')
        await terminal.confirm(question(emails), { unasked: 'not_confirmed', declined: 'not_confirmed' })
      }
      const log = pino({ base: null }, terminal.stderr)
      // All of them, even if nobody reads the output.
      for (const { id, email, fingerprint } of clients) {
        const changed = await administration[event](id, reason ?? null)
        if (changed) audit(log, { event, clientId: id, fingerprint, ...(reason && { reason }) })
        terminal.print({ client_id: id, email, fingerprint, changed }, `${email} ${changed ? done : already}`)
      }
    })
  }
}
