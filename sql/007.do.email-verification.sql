-- When the e-mail address was last confirmed by its holder, where that is asked for.
alter table clients add column email_verified_at timestamptz;

-- A registration whose e-mail address is to be confirmed by the link in a mail. It reserves nothing, and nobody sees it.
create table pending_registrations (
  id           uuid primary key default gen_random_uuid(),
  email        text collate "C" not null
               check (email = lower(email) and length(email) between 3 and 254),
  certificate  bytea not null
               check (octet_length(certificate) between 1 and 8192),
  fingerprint  text collate "C" not null
               generated always as (translate(encode(sha256(certificate), 'base64'), '+/=', '-_')) stored,
  common_name  text,
  not_before   timestamptz not null,
  not_after    timestamptz not null check (not_after > not_before),
  proven_at    timestamptz,
  expires_at   timestamptz not null,
  -- When its mail is to be sent, for the first time or again; null when that is done, or will never succeed.
  mail_due_at  timestamptz,
  mail_tries   integer not null default 0,
  -- SHA-256 of the token in the link that was sent last.
  token_hash   bytea unique check (octet_length(token_hash) = 32),
  unique (email, fingerprint)
);
create index pending_registrations_fingerprint_idx on pending_registrations (fingerprint);
create index pending_registrations_expires_at_idx on pending_registrations (expires_at);
create index pending_registrations_mail_due_at_idx on pending_registrations (mail_due_at) where mail_due_at is not null;

-- How many mails were asked for within an hour, by the address that they go to and by where they were asked for.
create table mail_counts (
  subject text collate "C" primary key,
  began_at timestamptz not null default now(),
  count integer not null default 1
);
create index mail_counts_began_at_idx on mail_counts (began_at);
