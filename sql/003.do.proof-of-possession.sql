-- When a TLS handshake first proved that the client holds its certificate's private key. Until then it is a mere claim,
-- for certificates are public, and gives way to a registration that comes with proof.
alter table clients add column proven_at timestamptz;
