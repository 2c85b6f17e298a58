let awaited: AbortController | undefined

/** Ctrl-C, `relay-peer down`, a terminal that closes: `end` is aborted then. Keeps the process alive until `release`. */
export function endOfProcess(): { end: AbortSignal; release: () => void } {
  const controller = new AbortController()
  awaited = controller
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => controller.abort())
  // Signals alone keep no process alive.
  const alive = setInterval(() => {}, 2 ** 30)
  return { end: controller.signal, release: () => clearInterval(alive) }
}

/** Ends the process as those signals do: at once, unless `endOfProcess` is waited for, such as by `up`, which withdraws first. */
export function endProcess() {
  if (awaited) awaited.abort()
  else process.exit()
}
