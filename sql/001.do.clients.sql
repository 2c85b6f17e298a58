-- A client is a registered peer: one certificate, one e-mail address.
create table clients (
  id          uuid primary key default gen_random_uuid(),
  email       text collate "C" not null unique
              check (email = lower(email) and length(email) between 3 and 254),
  -- DER, so that white space and line endings of a PEM cannot make two identities of one certificate.
  certificate bytea not null
              check (octet_length(certificate) between 1 and 8192),
  -- SHA-256 of the DER in base64url, as RFC 8705 writes x5t#S256; computed here, so that it cannot disagree.
  fingerprint text collate "C" not null unique
              generated always as (translate(encode(sha256(certificate), 'base64'), '+/=', '-_')) stored,
  common_name text,
  not_before  timestamptz not null,
  not_after   timestamptz not null check (not_after > not_before),
  created_at  timestamptz not null default now()
);
