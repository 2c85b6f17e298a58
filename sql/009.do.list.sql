-- The list goes through the clients by e-mail address, and reads no more of them than this.
alter table clients drop constraint clients_email_key, add constraint clients_email_key unique (email) include (id, fingerprint);
