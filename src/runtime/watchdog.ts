import inspector from 'node:inspector'
import { Worker } from 'node:worker_threads'

/** Milliseconds between two signs of life, and how many missing in a row end the process: by then every caller has given up. */
const INTERVAL = 1000
const TOLERATED = 10

/**
 * Ends this process with SIGKILL when its event loop has been blocked for ten seconds: it serves nobody and cannot notice that, but a
 * container engine or systemd starts it again. (Not where it is process 1 of a container, which takes no such signal from within: that is what an
 * init is for.) With a debugger (`--inspect`) it is left alone, since a breakpoint may stop it for as long as somebody thinks.
 *
 * @param options.interval milliseconds between two signs of life; the process ends when ten are missing
 */
export function startWatchdog({ interval = INTERVAL } = {}): void {
  if (inspector.url()) return
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  // As text, because a thread that has types to strip takes 10 MB more.
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
  // Counts waits rather than time: a process that was frozen for an hour has missed one.
  for (let missed = 0; missed < tolerated; ) {
    missed = Atomics.wait(beats, 0, beat, interval) === 'timed-out' ? missed + 1 : 0
    beat = Atomics.load(beats, 0)
  }
  const seconds = (tolerated * interval) / 1000
  // Not through the log, which is the blocked thread's.
  require('node:fs').writeSync(
    2,
    `relay-tracker: the event loop has been blocked for ${seconds} s, so nobody is served: the process ends\n`
  )
  process.kill(process.pid, 'SIGKILL')
}
/* c8 ignore stop */
