import { connect as connectTls } from 'node:tls'

/** Sends these bytes over TLS, and returns all that comes back until the edge closes or `patience` milliseconds have passed. */
export async function raw(port: number, text: string, patience = 30_000): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }).setEncoding('utf8')
  socket.write(text)
  setTimeout(() => socket.end(), patience).unref()
  return (await socket.toArray()).join('')
}
