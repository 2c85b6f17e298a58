/** Milliseconds by which clocks may differ without being reported. */
const TOLERANCE = 60_000
const UNITS: [string, number][] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000]
]
/** The format that RFC 9110 requires. JavaScript guesses at any other. */
const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/
/** Errors that a wrong clock can cause. */
const BY_CLOCK = ['certificate_not_yet_valid', 'certificate_expired', 'CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']

/** Compares this machine's clock with the tracker's, by the dates of its answers: accurate to a second. */
export function createTrackerClock() {
  let ahead = 0
  let isKnown = false
  return {
    /** @param date the header `Date` of an answer */
    set(date: string | undefined) {
      const time = IMF_FIXDATE.test(String(date)) ? Date.parse(date as string) : Number.NaN
      if (Number.isNaN(time)) return
      ahead = Date.now() - time
      isKnown = true
    },

    /** Milliseconds since 1970 by the tracker's clock; by this machine's before the first answer, or if they agree. */
    now(): number {
      return Date.now() - (Math.abs(ahead) > TOLERANCE ? ahead : 0)
    },

    /** What to add to the message of an error with this code, if the clock may be the cause. */
    hint(code: string): string {
      if (!BY_CLOCK.includes(code)) return ''
      if (!isKnown) return `; this machine's clock says ${new Date().toISOString()}`
      if (Math.abs(ahead) <= TOLERANCE) return ''
      return `; this machine's clock is ${duration(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'} the tracker's`
    }
  }
}

function duration(milliseconds: number): string {
  const [unit, length] = UNITS.find(([, length]) => milliseconds >= 2 * length) ?? (UNITS.at(-1) as [string, number])
  const count = Math.round(milliseconds / length)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
