-- Nobody looks for a broadcast by its id, and every announcement writes every index anew, for it moves expires_at.
alter table broadcasts
  drop constraint broadcasts_pkey,
  drop constraint broadcasts_client_id_key,
  add primary key (client_id);
