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
