import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import env from '@fastify/env'
import proxyAddr from '@fastify/proxy-addr'
import { Cron } from 'croner'
import Fastify from 'fastify'
import postgres from 'postgres'
import { readDatabaseUrl } from './database-url.ts'
import { type Settings, schema } from './settings.ts'

export interface Config extends Settings {
  /** The server's certificate and key, when the API terminates TLS itself. */
  tls: { cert: Buffer; key: Buffer; certPath: string; keyPath: string } | undefined
  /** How to send mails, if e-mail addresses have to be confirmed. */
  mail: MailSettings | undefined
  /** Whether headers from this address are trusted. */
  isTrustedProxy: (address: string) => boolean
}

export interface MailSettings {
  /** The SMTP server, with the password. */
  url: string
  from: string
  /** Where peers and browsers reach the tracker: `https://relay.example.com`, without a path. */
  publicUrl: string
}

/**
 * Reads the settings from `variables`; an empty one counts as not set.
 *
 * @throws Error in one line that names the setting that is wrong or missing
 */
export async function loadConfig(variables: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const data = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''))
  // The plugin needs a server, and ours depends on the settings.
  const loader = Fastify()
  try {
    await loader.register(env, { schema, data, env: false })
  } catch (error) {
    throw new Error(named((error as Error).message))
  }
  const settings = loader.getEnvs<Settings>()

  check('CLEANUP_SCHEDULE', () => new Cron(settings.CLEANUP_SCHEDULE, { paused: true }).stop())
  return {
    ...settings,
    ...loadDatabaseUrls(settings),
    mail: loadMail(settings),
    isTrustedProxy: check('TRUSTED_PROXIES', () => trust(settings.TRUSTED_PROXIES)),
    tls: loadTls(settings, data)
  }
}

function loadDatabaseUrls(settings: Settings) {
  const load = (name: 'DATABASE_URL' | 'DATABASE_POOLER_URL') => {
    const url = settings[name]
    if (url === undefined) return {}
    check(name, () => postgres(readDatabaseUrl(url).hosts[0].url))
    return { [name]: check('DATABASE_PASSWORD_FILE', () => withPassword(name, url, settings.DATABASE_PASSWORD_FILE)) }
  }
  return { ...load('DATABASE_URL'), ...load('DATABASE_POOLER_URL') }
}

/** An empty file means no password. */
function withPassword(name: string, url: string, file: string | undefined) {
  const password = file === undefined ? '' : readFileSync(file, 'utf8').trim()
  if (password === '') return url
  const user = /^\w+:\/\/[^:@/]+(?=@)/
  if (!user.test(url)) throw new Error(`${name} must name a user, and no password`)
  return url.replace(user, (start) => `${start}:${encodeURIComponent(password)}`)
}

function loadMail({ SMTP_URL, SMTP_PASSWORD_FILE, MAIL_FROM, PUBLIC_URL }: Settings) {
  if (SMTP_URL === undefined) return undefined
  check('SMTP_URL', () => new URL(SMTP_URL))
  const url = check('SMTP_PASSWORD_FILE', () => withPassword('SMTP_URL', SMTP_URL, SMTP_PASSWORD_FILE))
  if (MAIL_FROM === undefined) throw new Error('MAIL_FROM: must be set too, because SMTP_URL is')
  if (PUBLIC_URL === undefined) throw new Error('PUBLIC_URL: must be set too, because SMTP_URL is')
  return { url, from: MAIL_FROM, publicUrl: check('PUBLIC_URL', () => new URL(PUBLIC_URL).origin) }
}

function trust(list: string) {
  const compiled = proxyAddr.compile(list.split(',').map((entry) => entry.trim()))
  let known = { address: '', isTrusted: false }
  return (address: string) => {
    // An edge's requests come from one address, and comparing it with ranges takes as long as hashing a certificate.
    if (address !== known.address) known = { address, isTrusted: compiled(address, 0) }
    return known.isTrusted
  }
}

function loadTls({ TLS_CERT_PATH, TLS_KEY_PATH }: Settings, set: NodeJS.ProcessEnv): Config['tls'] {
  if (TLS_CERT_PATH === undefined && TLS_KEY_PATH === undefined) return undefined
  if (set.CLIENT_CERT_FORMAT !== undefined) {
    throw new Error(
      'CLIENT_CERT_FORMAT: must not be set, because with TLS_CERT_PATH certificates come from the handshake'
    )
  }
  const read = (name: string, path: string | undefined) =>
    check(name, () => {
      if (path === undefined) throw new Error('must be set too, because TLS needs both paths')
      return { path, text: readFileSync(path) }
    })
  const { path: certPath, text: cert } = read('TLS_CERT_PATH', TLS_CERT_PATH)
  const { path: keyPath, text: key } = read('TLS_KEY_PATH', TLS_KEY_PATH)
  check('TLS_CERT_PATH', () => createSecureContext({ cert }))
  check('TLS_KEY_PATH', () => createSecureContext({ cert, key }))
  return { cert, key, certPath, keyPath }
}

/** The validator's message, with the setting's name first. */
function named(message: string) {
  return message.replace(/^env\/(\w+)/, '$1:').replace(/^env must have required property '(\w+)'$/, '$1: must be set')
}

/** Puts the setting's name before what is wrong with it. */
function check<T>(name: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`)
  }
}
