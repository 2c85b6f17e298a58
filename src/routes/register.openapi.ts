import { TAGS } from '../openapi/document.ts'
import { ALICE, CURL, CURL_AS_BOB } from '../openapi/examples.ts'
import { content, type Operation, problems } from '../openapi/operation.ts'
import { TOO_MANY_REQUESTS, tooManyRequests, UNACCEPTABLE_CERTIFICATE, UNREADABLE_JSON } from '../openapi/responses.ts'

/** What a caller reads when somebody has the e-mail address or the certificate. */
export const CONFLICTS = {
  email_taken: 'this e-mail address is registered with another certificate',
  certificate_taken: 'this certificate is registered with another e-mail address',
  already_registered: 'this e-mail address and certificate are registered already'
}

/** When addresses are verified and the key was not proven: not to reveal who registered the certificate, or with which address. */
export const UNPROVEN_CONFLICT =
  'this certificate is registered already: present it in the TLS handshake to learn whether with this e-mail address'

export const register: Operation = {
  operationId: 'register',
  tags: [TAGS.registration],
  summary: 'Register',
  description: `Makes a client of a certificate and an e-mail address. Open to everyone; 30 of them a minute from one address (60 at once).

Certificates are public, so anyone could register another's. **The holder of the key wins:** a registration whose TLS
handshake presents the very certificate is proven, and displaces a mere claim on it by somebody else. Such a registration may
leave \`certificate\` out. A registration whose certificate has expired holds its e-mail address no more.

**A certificate that can be registered can be used.** One that some edge or TLS library could not read or present is refused, with a code that
says why. If the edge in use may refuse its kind, the registration has to be proven; the operator may require that of all registrations:
\`proof_required\`.

With verified e-mail the answer has \`"email_verification": "pending"\`, and the address gets a mail with a link. Until that is confirmed,
the registration reserves nothing, and ends after 24 hours. One caller may ask for 10 an hour. One address gets 5 mails an hour, whoever asks
for them; what is asked for beyond that has the same answer, and no mail: try again in an hour. Nor does any other answer tell whether an
address is registered: \`already_registered\` is for a caller whose TLS handshake presents the certificate, any other gets \`certificate_taken\`.`,
  command: `${CURL} --json @certs/alice.json $relay/register`,
  certificate: 'optional',
  body: {
    sent: {
      summary: 'the certificate in the body',
      value: { email: ALICE.email, certificate: ALICE.certificate }
    },
    presented: { summary: 'the certificate of the TLS handshake', value: { email: ALICE.email } }
  },
  responses: {
    200: {
      description: 'The client is registered, or is going to be.',
      content: content('application/json', {
        registered: { value: { client_id: ALICE.id } },
        pending: {
          summary: 'with verified e-mail',
          value: { client_id: ALICE.id, email_verification: 'pending' }
        }
      })
    },
    400: problems('The body is not a registration.', {
      invalid_email: 'email must be a valid e-mail address of at most 254 characters',
      ...UNACCEPTABLE_CERTIFICATE,
      invalid_request: 'unknown member: name',
      ...UNREADABLE_JSON
    }),
    403: problems('The registration has to be proven, or an administrator has revoked the certificate.', {
      proof_required: 'present the certificate that you register in the TLS handshake',
      certificate_revoked: 'this certificate was revoked'
    }),
    409: problems(
      'Somebody has the e-mail address or the certificate. `already_registered` is the very same pair: a peer may register at every start (with verified e-mail, one that presents its certificate).',
      CONFLICTS
    ),
    429: tooManyRequests({
      ...TOO_MANY_REQUESTS,
      too_many_mails: 'too many mails were asked for: try again in an hour'
    })
  }
}

export const unregister: Operation = {
  operationId: 'unregister',
  tags: [TAGS.registration],
  summary: 'Leave',
  description:
    'Removes the caller and all data about it. Its e-mail address and certificate become free. The holder of the key may leave even if the certificate has expired or the e-mail address was not confirmed, but not after a revocation.',
  command: `${CURL_AS_BOB} --request DELETE $relay/register`,
  certificate: 'pending',
  responses: { 204: { description: 'The caller is gone.' } }
}
