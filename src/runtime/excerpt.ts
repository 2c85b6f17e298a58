/** What a caller sent, for a message: at most 64 characters, none of them invisible. */
export function excerpt(text: string): string {
  const start = text.slice(0, 64).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\uFFFD')
  return start.length < text.length ? `${start}…` : start
}
