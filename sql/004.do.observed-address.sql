-- Where the edge saw the peer when it announced, apart from what the peer claims.
alter table broadcasts add column observed_address inet;
