import type { Job, Load } from './load.ts'
import { jobOf } from './operations.ts'
import type { Peer } from './peers.ts'
import { relay } from './protocols.ts'
import type { Subject } from './subjects.ts'

/** Nothing is measured. */
const TIMING = { warmUp: 0, duration: 0 }
const doOnce = (load: Load, job: Job) => load.run({ ...job, once: true }, TIMING, async () => {})

export async function registerAll(load: Load, subject: Subject, peers: Peer[]) {
  await doOnce(load, jobOf(subject, peers.map(relay.register)))
}

export async function announceAll(load: Load, subject: Subject, peers: Peer[]) {
  const calls = peers.map(() => subject.protocol.announce())
  // On new connections, so that each call comes from another peer.
  await doOnce(load, jobOf(subject, calls, { connections: 0 }))
}

const FILLER = 'filler-%s@example.com'

/** The e-mail address of a peer that `fill` makes. */
export const fillerEmail = (n: number) => FILLER.replace('%s', String(n))

/**
 * Adds registered peers that are online for a day, without API and triggers: their certificates are a few bytes, and nobody is notified.
 *
 * @param from how many such peers there are
 * @param to how many there will be
 */
export async function fill(subject: Subject, from: number, to: number) {
  await subject.sql(`
    set session_replication_role = replica;
    with added as (
      insert into clients (email, certificate, common_name, not_before, not_after)
      select format('${FILLER}', n), sha256(n::text::bytea), 'filler-' || n, now(), now() + interval '1 year'
      from generate_series(${from}, ${to - 1}) n
      returning id
    )
    insert into broadcasts (client_id, port, addresses, observed_address, capabilities, expires_at)
    select id, 54321, '{192.168.1.20,2001:db8::20}', '203.0.113.20', '{"chat":true}', now() + interval '1 day' from added`)
  await settle(subject)
  await subject.restartApi() // it was not notified
}

/** Makes everyone but these peers offline since an hour ago, even those deleted since. */
export async function expireAll(subject: Subject, except: Peer[]) {
  const emails = except.map(({ email }) => `'${email}'`).join()
  await subject.sql(`
    set session_replication_role = replica;
    insert into broadcasts (client_id, port, addresses, observed_address, capabilities, last_announced_at, expires_at)
    select id, 54321, '{192.168.1.20,2001:db8::20}', '203.0.113.20', '{"chat":true}',
      now() - interval '2 hours', now() - interval '1 hour'
    from clients where email not in (${emails})
    on conflict (client_id) do update set last_announced_at = excluded.last_announced_at, expires_at = excluded.expires_at`)
  await settle(subject)
}

/** Does what PostgreSQL would otherwise do later, during a measurement. */
export async function settle({ sql }: Subject) {
  await sql('vacuum analyze; checkpoint;')
}
