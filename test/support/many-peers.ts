import type { Sql } from '../../src/postgres/postgres-driver.ts'

/**
 * Registers peers, `peer-1@example.com` and so on, and puts them online.
 *
 * @param from the number of the first one
 * @param online how many of them are online, evenly spread: all by default
 * @param padding characters of a capability
 * @param mark what precedes them: after a character that is not Latin-1, V8 needs two bytes for each of them
 */
export async function addPeers(sql: Sql, count: number, { from = 1, online = count, padding = 0, mark = '' } = {}) {
  await sql`
    with registered as (
      insert into clients (email, certificate, not_before, not_after)
      select 'peer-' || n || '@example.com', int4send(n), now() - interval '1 day', now() + interval '1 year'
      from generate_series(${from}::integer, ${from + count - 1}::integer) n
      returning id, certificate
    )
    insert into broadcasts (client_id, port, addresses, observed_address, capabilities, expires_at)
    select id, 54321, '{192.168.1.20,2001:db8::20}', '203.0.113.9',
      ('{"x":"' || ${mark} || repeat('x', ${padding}::integer) || '"}')::json, now() + interval '1 hour'
    from registered
    order by sha256(certificate) limit ${online}`
}
