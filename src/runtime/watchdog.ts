import inspector from 'node:inspector'
import { Worker } from 'node:worker_threads'

/** Milliseconds between signs of life, and how many may be missed in a row: by then, every caller has given up. */
const INTERVAL = 1000
const TOLERATED = 10

/**
 * Kills this process when its event loop has been blocked for ten seconds: it serves nobody and cannot notice that itself, but a container
 * engine or systemd restarts it. (As process 1 of a container it would not receive SIGKILL, hence the init there.) With a debugger
 * (`--inspect`) there is no watchdog, because a breakpoint may stop the process for any time.
 *
 * @param options.interval milliseconds between signs of life; the process is killed when ten are missed
 */
export function startWatchdog({ interval = INTERVAL } = {}): void {
  if (inspector.url()) return
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  // As text, because stripping types in the thread would take 10 MB more.
  const thread = new Worker(`(${watch})()`, { eval: true, workerData: { beats, interval, tolerated: TOLERATED } })
  thread.unref()
  const beat = () => {
    Atomics.add(beats, 0, 1)
    Atomics.notify(beats, 0)
  }
  setInterval(beat, interval / 2).unref()
}

/* c8 ignore start: it runs in another thread and ends with the process */
function watch() {
  const { workerData } = require('node:worker_threads')
  const { beats, interval, tolerated } = workerData as { beats: Int32Array; interval: number; tolerated: number }
  let beat = 0
  // Waits are counted rather than time: a process that was frozen for an hour has missed only one.
  for (let missed = 0; missed < tolerated; ) {
    missed = Atomics.wait(beats, 0, beat, interval) === 'timed-out' ? missed + 1 : 0
    beat = Atomics.load(beats, 0)
  }
  const seconds = (tolerated * interval) / 1000
  // Not to the log, which belongs to the blocked thread.
  require('node:fs').writeSync(
    2,
    `relay-tracker: the event loop has been blocked for ${seconds} s and nobody is served, so this process ends to be restarted\n`
  )
  process.kill(process.pid, 'SIGKILL')
}
/* c8 ignore stop */
