import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * A proxy before the database that can fail: `refuse` cuts connections and refuses new ones, `hang-up` accepts and closes them without a
 * word, `freeze` keeps all and passes nothing, `forget` freezes the existing ones and passes new ones, like a firewall that lost its state.
 */
export async function startFaultyNetwork(t: Test, databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let mode: 'pass' | 'refuse' | 'hang-up' | 'freeze' | 'forget' = 'pass'
  let connections = 0
  const keep = (socket: Socket) => {
    sockets.add(socket.on('error', () => {}))
    return socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((inbound) => {
    connections++
    keep(inbound)
    if (mode === 'hang-up') return inbound.end()
    const outbound = keep(connectTcp(Number(port), hostname))
    inbound.pipe(outbound).pipe(inbound)
    inbound.on('close', () => outbound.destroy())
    outbound.on('close', () => inbound.destroy())
    if (mode === 'freeze') for (const socket of [inbound, outbound]) socket.pause()
  })
  const listen = async (at: number) => {
    await once(server.listen(at, '127.0.0.1'), 'listening')
    return (server.address() as AddressInfo).port
  }
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${await listen(0)}`
  const refuse = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(refuse)
  return {
    url: url.href,
    /** How many connections were opened through it. */
    connections: () => connections,
    async set(to: typeof mode) {
      mode = to
      if (mode === 'refuse') return refuse()
      if (!server.listening) await listen(Number(url.port))
      for (const socket of sockets) mode === 'pass' ? socket.resume() : socket.pause()
    }
  }
}
