import inspector from 'node:inspector'
import { Worker } from 'node:worker_threads'

/** Milliseconds between two signs of life, and how many may be missing in a row: by then every caller has given up. */
const INTERVAL = 1000
const TOLERATED = 10

/**
 * Ends this process with SIGKILL when its event loop has been blocked for ten seconds: it serves nobody and cannot notice it, but whatever
 * started it starts it again. (Not where it is process 1 of a container, which takes no such signal from within: that is what an
 * init is for.) With a debugger (`--inspect`) it is left alone: that may stop it for as long as somebody thinks.
 *
 * @param options.interval milliseconds between two signs of life; ten of them have to be missing
 */
export function startWatchdog({ interval = INTERVAL } = {}): void {
  if (inspector.url()) return
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  // As text, for a thread that has types to strip takes 10 MB more.
  const thread = new Worker(`(${watch})()`, { eval: true, workerData: { beats, interval, tolerated: TOLERATED } })
  thread.unref()
  const beat = () => {
    Atomics.add(beats, 0, 1)
    Atomics.notify(beats, 0)
  }
  setInterval(beat, interval / 2).unref()
}

/* c8 ignore start: it runs in another thread, and ends with its process */
function watch() {
  const { workerData } = require('node:worker_threads')
  const { beats, interval, tolerated } = workerData as { beats: Int32Array; interval: number; tolerated: number }
  let beat = 0
  // Waits are counted, and no clock is asked: one that was frozen for an hour has missed one.
  for (let missed = 0; missed < tolerated; ) {
    missed = Atomics.wait(beats, 0, beat, interval) === 'timed-out' ? missed + 1 : 0
    beat = Atomics.load(beats, 0)
  }
  const seconds = (tolerated * interval) / 1000
  // Not with the log, which is the blocked thread's.
  require('node:fs').writeSync(2, `relay-tracker: the event loop has been blocked for ${seconds} s: the process ends\n`)
  process.kill(process.pid, 'SIGKILL')
}
/* c8 ignore stop */
