import type { Sql } from '../src/database.ts'

export const ROLES = ['relay_api', 'relay_cleanup', 'relay_mailer', 'relay_admin']

/**
 * Makes the roles that the processes log in as, before the migrations give them their rights. All tests' databases are on one
 * server and share them.
 *
 * @param url of the test's own database
 * @returns its URL as one of them
 */
export async function createRoles(sql: Sql, url: string) {
  for (const role of ROLES) {
    await sql.unsafe(`
      do $$ begin create role ${role} login password 'secret';
      exception when duplicate_object or unique_violation then null; end $$`)
  }
  return (role: string) => Object.assign(new URL(url), { username: role, password: 'secret' }).href
}
