import { setTimeout as pause } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { createTransport } from 'nodemailer'
import { verificationMail } from '../identity/verification/verification-mail.ts'
import { createToken, hashToken } from '../identity/verification/verification-token.ts'
import { mailMetrics } from '../observability/metrics.ts'
import type { MailSettings } from '../runtime/config.ts'

/** E-mails that one process sends at once. */
const SENDERS = 4
/** Milliseconds between queries for an e-mail that is due. */
const INTERVAL = 1000
/** Milliseconds. An e-mail that takes longer is retried. */
const SMTP_TIMEOUT = 10_000

/**
 * Sends the e-mails that registrations wait for. The database decides which are due, so that none is lost with a process or sent by two. It
 * knows only the hash of the token in an e-mail.
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

    /** Sends one e-mail that is due; false when there is none. */
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
        // RFC 5321: 5yz is final. Before the recipient, it only means that a setting is wrong.
        const isFinal = Number(responseCode) >= 500 && ['RCPT TO', 'DATA'].includes(String(command))
        const next = isFinal ? 'the address does not accept it, so the registration will expire' : 'retrying later'
        log.warn({ registration: id, code, command, responseCode, isFinal }, `mail not sent, ${next}`)
        mails.ended(isFinal ? 'rejected' : 'deferred')
        if (!isFinal) return true
      }
      await repository.pendingRegistrations.endMail(hash)
      return true
    }

    async function send() {
      while (!stopping.signal.aborted) {
        const isMore = await sendNext().catch((err) =>
          log.error({ err }, 'mails not sent, retrying every second; registrations stay pending')
        )
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
