import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import PostalMime, { type Email } from 'postal-mime'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'
import metrics from '../../src/observability/metrics.ts'
import database from '../../src/repository.ts'
import { loadConfig } from '../../src/runtime/config.ts'
import mailer from '../../src/workers/mail-delivery.ts'
import { startApi } from './api.ts'
import { createDatabase } from './database.ts'
import { eventually, something } from './eventually.ts'
import { send } from './http-client.ts'
import type { Peer } from './peers.ts'

/** Settings with which an API verifies addresses, although no server would send the mails. */
export const MAIL_SETTINGS = {
  SMTP_URL: 'smtp://127.0.0.1:1',
  MAIL_FROM: 'relay@example.com',
  PUBLIC_URL: 'https://relay.example.com'
}

/** A real SMTP server, and the mails that it has accepted. */
export async function startMailServer(
  t: Test,
  { port = 0, host = '127.0.0.1', ...options }: SMTPServerOptions & { port?: number; host?: string } = {}
) {
  const mails: Email[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    async onData(stream, _, done) {
      mails.push(await PostalMime.parse(Buffer.concat(await stream.toArray())))
      done()
    },
    ...options
  })
  server.on('error', () => {})
  server.listen(port, host)
  await once(server.server, 'listening')
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
  t.teardown(close)
  const url = `smtp://${host}:${(server.server.address() as AddressInfo).port}`
  return {
    env: { ...MAIL_SETTINGS, SMTP_URL: url },
    port: (server.server.address() as AddressInfo).port,
    mails,
    close,
    /** The next mail, taken off the list. */
    next: () => something(() => mails.shift())
  }
}

/** The mailer as its process runs it, and its log lines. */
export async function startMailer(t: Test, DATABASE_URL: string, env: NodeJS.ProcessEnv) {
  const config = await loadConfig({ DATABASE_URL, ...env })
  const log: Record<string, unknown>[] = []
  const fastify = Fastify({ logger: { stream: { write: (line) => log.push(JSON.parse(line)) } } })
  fastify.register(metrics)
  fastify.register(database, { config })
  fastify.register(mailer, config.mail as NonNullable<typeof config.mail>)
  await fastify.ready()
  t.teardown(() => fastify.close())
  return {
    fastify,
    log,
    /** Its log, once it has that many lines. */
    logged: (lines: number) =>
      eventually(
        async () => log,
        ({ length }) => length >= lines
      )
  }
}

/** The path with the token in a mail's link. */
export function linkIn({ text }: Email) {
  return /https:\/\/relay\.example\.com(\/api\/relay\/email\/verify\?token=\S+)/.exec(text ?? '')?.[1] as string
}

/** An API that verifies e-mail addresses, its mailer and mail server, and what a browser does with links. */
export async function startVerifying(t: Test, env: NodeJS.ProcessEnv = {}) {
  const { url: database, patient, sql } = await createDatabase(t)
  const server = await startMailServer(t)
  await startMailer(t, database, server.env)
  // Sessions that wait for each other go on waiting, for the test to see.
  const api = await startApi(t, {
    database: `${patient}&deadlock_timeout=60000`,
    env: { ...server.env, ...env }
  })
  const open = (link: string) => send(api.origin + link)
  const confirm = (link: string, headers = {}) =>
    send(`${api.origin}/api/relay/email/verify`, {
      body: new URLSearchParams({ token: new URL(link, api.origin).searchParams.get('token') as string }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
    })
  /** Registers a peer with proof, reads the mail and confirms it. */
  const verify = async (peer: Peer, as: Peer | undefined = peer) => {
    t.match(await api.relay.register(peer, { as }), { status: 200, body: { email_verification: 'pending' } })
    const link = linkIn(await server.next())
    t.match(await confirm(link), { status: 200 })
    return link
  }
  return { ...api, database, sql, server, open, confirm, verify }
}
