#!/bin/sh
# Patroni reads passwords from its configuration or the environment, but here they are in files that only the nodes see.
set -e
PATRONI_SUPERUSER_PASSWORD=$(cat /run/secrets/postgres/password)
PATRONI_REPLICATION_PASSWORD=$(cat /run/secrets/replication/password)
export PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD
exec patroni /etc/patroni.yml
