-- The only place that decides whether a certificate is valid, by the database's clock. Clocks differ, so it may become valid up to five minutes
-- from now.
create function certificate_state(not_before timestamptz, not_after timestamptz, at timestamptz default now()) returns text
language sql stable parallel safe
return case
  when not_after <= at then 'expired'
  when not_before > at + interval '5 minutes' then 'not_yet_valid'
  else 'valid'
end;
