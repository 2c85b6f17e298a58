/** The peer of most examples. Its certificate is valid until 2126; nobody has the key. */
export const ALICE = {
  id: '9445e585-ccbf-4606-acee-4ba8a899e2ac',
  email: 'alice@example.com',
  certificate: `-----BEGIN CERTIFICATE-----
MIIBYDCCAQWgAwIBAgIQR2F0NcaR1WQy5yAU1IISTDAKBggqhkjOPQQDAjAQMQ4w
DAYDVQQDEwVhbGljZTAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMjAwMDAwMFow
EDEOMAwGA1UEAxMFYWxpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT3k6ok
fKYhy0SxXF/Y+OGtoLXgZpZKsSgn4Kghp1h6bec3RI6exJhY54pn/+G64VSwGPlO
0xehmnbIvINJPUXooz8wPTAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIHgDAd
BgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwCgYIKoZIzj0EAwIDSQAwRgIh
AIV5ua7I8L51Dc7oGrcmrXAjAh/oWqQuZ2nibq7S8TMFAiEA5P9cRiT9dpTNn/NT
wt3hxH6TIZj43X9V7nuXFYPCewQ=
-----END CERTIFICATE-----
`,
  fingerprint: 'aOZRCMpx3fY0MQUcZNqYKRv28BCBGP3ZpwobB8rtaEY'
}

/** Alice's next certificate. */
export const NEXT = {
  certificate: `-----BEGIN CERTIFICATE-----
MIIBXzCCAQWgAwIBAgIQPT1L66b4sQgkbE6rS5l07TAKBggqhkjOPQQDAjAQMQ4w
DAYDVQQDEwVhbGljZTAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMjAwMDAwMFow
EDEOMAwGA1UEAxMFYWxpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATcrLCG
nmy+ddxDNQKHZJe13PKSU/kstANbz+H4s4v8+nheY7NqvTB35iL94KNfp1hPXh85
uTyqtGRIXGMEwkIuoz8wPTAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIHgDAd
BgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwCgYIKoZIzj0EAwIDSAAwRQIg
VhGjeBzz/LLq04VnoaS9UhTip98/dFCnRfBUhZ+A/DACIQDULGk1z9vkqO33Cj/Y
lzucWa8lTYfEGH/dgbxEGp8tvw==
-----END CERTIFICATE-----
`,
  fingerprint: 'ath1s4a0rrQPzxnu7TTFDaMlkV5hO0Jdt_-2BjrF1hc',
  /** Made with the key of the one before. */
  signature: 'MEYCIQCp1s8CiNYia93ZG9E1fn6B2BBUfdMqZ5gn4Yp-ATvQnwIhAN8S_ZFG0Wb18ZnAYGdVGXtXguN7OPFKYGVICCRLAAEi'
}

/** What Alice announces. */
export const ANNOUNCEMENT = {
  port: 54321,
  addresses: ['192.168.1.20', '2001:db8::20'],
  capabilities: { chat: true },
  ttl: 3600
}

/** What a lookup of Alice returns then. */
export const BROADCAST = {
  email: ALICE.email,
  port: ANNOUNCEMENT.port,
  addresses: ANNOUNCEMENT.addresses,
  observed_address: '203.0.113.7',
  capabilities: ANNOUNCEMENT.capabilities,
  fingerprint: ALICE.fingerprint,
  last_seen: '2026-11-23T19:14:37.451Z',
  expires_at: '2026-11-23T20:14:37.451Z'
}

/** What it returns once Alice's next certificate has taken over. */
export const ROTATED = {
  ...BROADCAST,
  fingerprint: NEXT.fingerprint,
  rotations: [{ certificate: NEXT.certificate, signature: NEXT.signature }]
}

/** The token in the link of a mail. */
export const TOKEN = 'Zq3ZbGk1v0bQ6m2w5yJc8nT4hXr7fLdA9sPeUoViWgE'

/** How commands begin, as in the README. */
export const CURL = 'curl --cacert $ca'
export const CURL_AS_BOB = `${CURL} --cert certs/bob.crt --key certs/bob.key`
