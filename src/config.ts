import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import env from '@fastify/env'
import proxyAddr from '@fastify/proxy-addr'
import { Cron } from 'croner'
import Fastify from 'fastify'
import { type Static, Type } from 'typebox'
import { connect } from './database.ts'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const PORT = { minimum: 0, maximum: 65535 }

/** Every setting of every process. `.env.example` and the README's table say the same in words. */
const schema = Type.Object({
  DATABASE_URL: Type.String({ pattern: '^postgres(ql)?://' }),
  DATABASE_PASSWORD_FILE: Type.Optional(Type.String()),
  HOST: Type.String({ default: '127.0.0.1' }),
  PORT: Type.Integer({ ...PORT, default: 3000 }),
  CLEANUP_PORT: Type.Integer({ ...PORT, default: 3001 }),
  TLS_CERT_PATH: Type.Optional(Type.String()),
  TLS_KEY_PATH: Type.Optional(Type.String()),
  TRUSTED_PROXIES: Type.String({ default: 'loopback,uniquelocal' }),
  REGISTRATION_PROOF: Type.Enum(['optional', 'required'], { default: 'optional' }),
  BROADCAST_TTL_SECONDS: Type.Integer({ minimum: 1, maximum: 86400, default: 3600 }),
  CLEANUP_SCHEDULE: Type.String({ default: '*/5 * * * *' }),
  DATA_DIR: Type.String({ default: '.data' }),
  LOG_LEVEL: Type.Enum(LOG_LEVELS, { default: 'info' })
})

export interface Config extends Static<typeof schema> {
  /** The server's certificate and key, when the API terminates TLS itself. */
  tls: { cert: Buffer; key: Buffer } | undefined
  /** Whether the headers that this address sends are believed. */
  isTrustedProxy: (address: string) => boolean
}

/**
 * Reads the settings out of `variables`; an empty one counts as not set.
 *
 * @throws Error with one line that names the setting which is wrong or missing
 */
export async function loadConfig(variables: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const data = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''))
  // The settings decide how the server is made, so they are read before there is one.
  const loader = Fastify()
  await loader.register(env, { schema, data, env: false })
  const settings = loader.getEnvs<Static<typeof schema>>()

  check('DATABASE_URL', () => connect(settings.DATABASE_URL))
  const DATABASE_URL = check('DATABASE_PASSWORD_FILE', () => withPassword(settings))
  check('CLEANUP_SCHEDULE', () => new Cron(settings.CLEANUP_SCHEDULE, { paused: true }).stop())
  return {
    ...settings,
    DATABASE_URL,
    isTrustedProxy: check('TRUSTED_PROXIES', () => trust(settings.TRUSTED_PROXIES)),
    tls: loadTls(settings)
  }
}

function withPassword({ DATABASE_URL, DATABASE_PASSWORD_FILE }: Static<typeof schema>) {
  if (DATABASE_PASSWORD_FILE === undefined) return DATABASE_URL
  const password = readFileSync(DATABASE_PASSWORD_FILE, 'utf8').trim()
  const user = /^\w+:\/\/[^:@/]+(?=@)/
  if (!user.test(DATABASE_URL)) throw new Error('DATABASE_URL has to name a user, and no password')
  return DATABASE_URL.replace(user, (start) => `${start}:${encodeURIComponent(password)}`)
}

function trust(list: string) {
  const compiled = proxyAddr.compile(list.split(',').map((entry) => entry.trim()))
  return (address: string) => compiled(address, 0)
}

function loadTls({ TLS_CERT_PATH, TLS_KEY_PATH }: Static<typeof schema>): Config['tls'] {
  if (TLS_CERT_PATH === undefined && TLS_KEY_PATH === undefined) return undefined
  const read = (name: string, path: string | undefined) =>
    check(name, () => {
      if (path === undefined) throw new Error('must be set too, for TLS needs both paths')
      return readFileSync(path)
    })
  const [cert, key] = [read('TLS_CERT_PATH', TLS_CERT_PATH), read('TLS_KEY_PATH', TLS_KEY_PATH)]
  check('TLS_CERT_PATH', () => createSecureContext({ cert }))
  check('TLS_KEY_PATH', () => createSecureContext({ cert, key }))
  return { cert, key }
}

/** Whatever is wrong with a setting is told with its name. */
function check<T>(name: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`)
  }
}
