#!/bin/sh
# Starts PostgreSQL with what its image has for that, which takes a database whose making was cut off, by a crash or a power cut, for a
# complete one. So a new one is made under another name, and gets its own once it is complete. Only what has that other name is ever deleted.
#
# The image runs this file too, after the others of /docker-entrypoint-initdb.d: one file, so that neither part is there without the other.
set -e
volume=/var/lib/postgresql unfinished=/var/lib/postgresql/unfinished

if [ "$PGDATA" = "$unfinished/data" ]; then
  pg_ctl --mode=fast --wait stop
  mv "$PGDATA" "$unfinished/complete"
  exit
elif [ -z "${RELAY_STARTED:-}" ]; then
  export RELAY_STARTED=yes
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$unfinished"
    # Whatever else is there, such as the database of an older version, is for the image to judge.
    if [ -z "$(find "$volume" -name PG_VERSION -print -quit; ls -A "$PGDATA" 2>/dev/null)" ]; then
      install --directory --owner=postgres --group=postgres --mode=700 "$unfinished"
      # Where the image runs this file as a program, it fails, for it wants to stop the server itself.
      PGDATA=$unfinished/data docker-entrypoint.sh "$@" || [ -d "$unfinished/complete" ]
      sync --file-system "$volume"
      mkdir -p "${PGDATA%/*}"
      mv --no-target-directory "$unfinished/complete" "$PGDATA"
      sync --file-system "$volume"
      rmdir "$unfinished"
    fi
  fi
  exec docker-entrypoint.sh "$@"
fi
