-- A certificate that a client announced as its next one: it takes over with the first request whose TLS handshake presents it.
-- It reserves nothing in clients, where it counts first who registered.
create table pending_certificates (
  client_id   uuid primary key references clients on delete cascade,
  certificate bytea not null
              check (octet_length(certificate) between 1 and 8192),
  fingerprint text collate "C" not null unique
              generated always as (translate(encode(sha256(certificate), 'base64'), '+/=', '-_')) stored,
  common_name text,
  not_before  timestamptz not null,
  not_after   timestamptz not null check (not_after > not_before),
  created_at  timestamptz not null default now()
);
