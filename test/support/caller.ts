import type { Caller } from '../../src/identity/authentication.ts'

/** A caller whom only statements check, as outside of a request. */
export function callerWith(fingerprint: string): Caller {
  return {
    fingerprint,
    deadline: undefined,
    identify: () => Promise.reject(new Error('there is no request')),
    async checkedBy(ask) {
      const answer = await ask()
      if (!answer) throw new Error(`${fingerprint} is no client's`)
      return answer
    }
  }
}
