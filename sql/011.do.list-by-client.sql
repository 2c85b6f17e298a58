-- The list goes through the broadcasts, by client, and no longer through all who are registered, by e-mail address: the index
-- need not have more than that, which is less than half of its size.
alter table clients drop constraint clients_email_key, add constraint clients_email_key unique (email);
