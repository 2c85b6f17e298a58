import { setTimeout as pause } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { createTransport } from 'nodemailer'
import { verificationMail } from '../identity/verification/verification-mail.ts'
import { createToken, hashToken } from '../identity/verification/verification-token.ts'
import { mailMetrics } from '../observability/metrics.ts'
import type { MailSettings } from '../runtime/config.ts'

/** Mails that one process sends at once. */
const SENDERS = 4
/** Milliseconds between two looks for a mail that is due. */
const INTERVAL = 1000
/** Milliseconds. What takes longer is tried again. */
const SMTP_TIMEOUT = 10_000

/**
 * Sends the mails that registrations wait for, as long as the server runs. The database says which are due, so that none is
 * lost with a process, and none is sent by two. Of the token in a mail it has only the hash.
 */
export default fp<MailSettings>(
  async (fastify, { url, from, publicUrl }) => {
    const { repository, log } = fastify
    const mails = mailMetrics(fastify.metrics)
    const transport = createTransport({
      url,
      requireTLS: !isLoopback(url),
      connectionTimeout: SMTP_TIMEOUT,
      greetingTimeout: SMTP_TIMEOUT,
      socketTimeout: SMTP_TIMEOUT,
      disableFileAccess: true,
      disableUrlAccess: true
    })
    const stopping = new AbortController()
    let senders: Promise<unknown> = Promise.resolve()

    /** Sends one mail that is due; false when there is none. */
    async function sendNext(): Promise<boolean> {
      const token = createToken()
      const hash = hashToken(token)
      const mail = await repository.pendingRegistrations.takeMail(hash)
      if (!mail) return false
      const { id, email, fingerprint } = mail
      try {
        await transport.sendMail({ from, ...verificationMail({ email, fingerprint, token, publicUrl }) })
        log.info({ registration: id }, 'mail sent')
        mails.ended('sent')
      } catch (error) {
        const { code, command, responseCode } = error as { code?: string; command?: string; responseCode?: number }
        // 5yz of RFC 5321: to try again makes no sense. Before the recipient it only says that a setting is wrong.
        const isFinal = Number(responseCode) >= 500 && ['RCPT TO', 'DATA'].includes(String(command))
        log.warn({ registration: id, code, command, responseCode, isFinal }, 'mail not sent')
        mails.ended(isFinal ? 'rejected' : 'deferred')
        if (!isFinal) return true
      }
      await repository.pendingRegistrations.endMail(hash)
      return true
    }

    async function send() {
      while (!stopping.signal.aborted) {
        const isMore = await sendNext().catch((err) => log.error({ err }, 'mails not sent, retrying every second'))
        if (!isMore) await pause(INTERVAL, undefined, stopping).catch(() => {})
      }
    }

    fastify.addHook('onReady', async () => {
      senders = Promise.all(Array.from({ length: SENDERS }, send))
    })
    fastify.addHook('preClose', async () => {
      stopping.abort()
      await senders
      transport.close()
    })
  },
  { name: 'mailer', dependencies: ['repository', 'metrics'] }
)

function isLoopback(url: string) {
  return ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname)
}
