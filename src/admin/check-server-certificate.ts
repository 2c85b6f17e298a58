import type { X509Certificate } from 'node:crypto'
import { type Finding, ok, problem } from './doctor-finding.ts'

const DAY = 86_400_000
/** Days. ACME clients renew 30 days before the end, so by then they have been failing for a while. */
const SOON = 14

/** Checks whether a server's certificate is valid, and stays so for a while. */
export function checkServerCertificate(check: string, { validFromDate, validToDate }: X509Certificate): Finding {
  const days = Math.floor((validToDate.getTime() - Date.now()) / DAY)
  const until = validToDate.toISOString().slice(0, 10)
  if (validFromDate.getTime() > Date.now()) {
    return problem(
      check,
      `it is not valid before ${validFromDate.toISOString()}`,
      'set the clock, or have a new one issued'
    )
  }
  if (days < 0)
    return problem(check, `it expired on ${until}`, 'renew it, and make whatever serves it load the new one')
  if (days < SOON) {
    return problem(
      check,
      `it expires within ${days + 1} days, on ${until}`,
      'renew it, and find out why that did not happen by itself'
    )
  }
  return ok(check, `valid until ${until}`)
}
