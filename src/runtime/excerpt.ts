/** What a caller sent, for a message: cut after 64 characters, and without control and invisible characters. */
export function excerpt(text: string): string {
  const start = text.slice(0, 64).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\uFFFD')
  return start.length < text.length ? `${start}…` : start
}
