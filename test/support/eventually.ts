import { inspect } from 'node:util'

/** Asks until the answer is right, for at most `seconds`. */
export async function eventually<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean, seconds = 30): Promise<T> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
    if (Date.now() > end) throw new Error(`still not so after ${seconds} s: ${inspect(answer, { depth: 2 })}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Asks until there is something. */
export function something<T>(ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  return eventually(
    async () => ask(),
    (answer) => answer !== undefined
  ) as Promise<T>
}

/** Reads until the text has this in it. */
export function untilIncludes(read: () => Promise<string>, text: string, seconds?: number) {
  return eventually(read, (all) => all.includes(text), seconds)
}
