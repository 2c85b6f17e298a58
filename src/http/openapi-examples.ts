/** The peer of most examples. Its certificate is valid until 2126; nobody has the key. */
export const ALICE = {
  id: '9445e585-ccbf-4606-acee-4ba8a899e2ac',
  email: 'alice@example.com',
  certificate: `-----BEGIN CERTIFICATE-----
MIIBITCByKADAgECAhABs3LFOVqFkNjzozGB1ooOMAoGCCqGSM49BAMCMBAxDjAM
BgNVBAMTBWFsaWNlMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAyMDAwMDAwWjAQ
MQ4wDAYDVQQDEwVhbGljZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA/qvExB
nVyuukP0WzcsCDxQ7CVsNUeAfAo2dyQ++4Q2cO3q3yvrumLYWWDemhBgaR9WkxAf
6S+U2rmRbwLw0RKjAjAAMAoGCCqGSM49BAMCA0gAMEUCIQDk83iwPnp+9Vi2pN/m
O4scp/oHMra0J0D0JzFbRHnMtgIgU/icTGXiT1bV9FVFYuzSn8NAbz15JD8A556l
wBS5yyc=
-----END CERTIFICATE-----
`,
  fingerprint: 'CQDkBeUX4sjt88xLD1P6NMvB1cGBsDPg6dXxeScEaW0'
}

/** Alice's next certificate. */
export const NEXT = {
  certificate: `-----BEGIN CERTIFICATE-----
MIIBIzCByaADAgECAhEA7vUK+a5+qCThtuR8t2wN2DAKBggqhkjOPQQDAjAQMQ4w
DAYDVQQDEwVhbGljZTAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMjAwMDAwMFow
EDEOMAwGA1UEAxMFYWxpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARDe75m
rn62c+VJWIoDM4gyxYUfnF2hIjwPY8laDnPSDfAXFq9yCZ/rHwyFrT1Jeb+HORyu
l8uJL3+4KsSgqnSOowIwADAKBggqhkjOPQQDAgNJADBGAiEA9MB/kpdmM87Jpy/Z
3MKTLubeDiokv5HQMRUQlCY48pECIQDaoyykqeUCRRuty69T+OVfqxyRPk0qTXXY
7fy2jdPiuA==
-----END CERTIFICATE-----
`,
  fingerprint: 'DPTgEwrLukb4Mt5xyz2FWSZXT5ifFXabM9kpQ0Lv1uY'
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

/** The token in the link of a mail. */
export const TOKEN = 'Zq3ZbGk1v0bQ6m2w5yJc8nT4hXr7fLdA9sPeUoViWgE'

/** How commands begin, as in the README. */
export const CURL = 'curl --cacert $ca'
export const CURL_AS_BOB = `${CURL} --cert certs/bob.crt --key certs/bob.key`
