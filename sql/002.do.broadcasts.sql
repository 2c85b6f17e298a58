-- A broadcast is a peer's announcement of where it listens; a client has at most one.
create table broadcasts (
  id             uuid primary key default gen_random_uuid(),
  client_id      uuid not null unique references clients on delete cascade,
  port           integer not null check (port between 1 and 65535),
  addresses      inet[] not null check (cardinality(addresses) between 1 and 16),
  -- json, not jsonb: it is returned as it was sent.
  capabilities   json not null default '{}'
                 check (json_typeof(capabilities) = 'object' and octet_length(capabilities::text) <= 4096),
  created_at     timestamptz not null default now(),
  expires_at     timestamptz not null check (expires_at > last_heartbeat),
  last_heartbeat timestamptz not null default now()
);

-- The cleanup worker's order of work.
create index broadcasts_expires_at_idx on broadcasts (expires_at);
