#!/bin/sh
# Starts PostgreSQL with its image's entrypoint, which takes a database for complete even if a crash or a power failure interrupted its
# creation. So a new one is created under another name, and renamed once it is complete. Only something with that other name is ever deleted.
#
# The image runs this file too, after the others in /docker-entrypoint-initdb.d: it is one file so that neither part can be missing.
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
    # Anything else there, such as the database of an older version, is left to the image.
    if [ -z "$(find "$volume" -name PG_VERSION -print -quit; ls -A "$PGDATA" 2>/dev/null)" ]; then
      install --directory --owner=postgres --group=postgres --mode=700 "$unfinished"
      # If the image runs this file as a program, the entrypoint fails, because it wants to stop the server itself.
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
