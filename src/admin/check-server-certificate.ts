import type { X509Certificate } from 'node:crypto'
import { type Finding, ok, problem } from './doctor-finding.ts'

const DAY = 86_400_000
/** Days. Whoever renews by themselves, as ACME clients do with 30 days left, have failed for some time then. */
const SOON = 14

/** Whether a server's certificate is valid, and will be for a while. */
export function checkServerCertificate(check: string, { validFromDate, validToDate }: X509Certificate): Finding {
  const days = Math.floor((validToDate.getTime() - Date.now()) / DAY)
  const until = validToDate.toISOString().slice(0, 10)
  if (validFromDate.getTime() > Date.now()) {
    return problem(
      check,
      `it is valid only from ${validFromDate.toISOString()} on`,
      'set the clock, or have one issued'
    )
  }
  if (days < 0) return problem(check, `it expired on ${until}`, 'renew it, and have whatever serves it read it anew')
  if (days < SOON) {
    return problem(
      check,
      `it expires within ${days + 1} days, on ${until}`,
      'renew it, and see why that did not happen by itself'
    )
  }
  return ok(check, `valid until ${until}`)
}
