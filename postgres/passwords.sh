#!/bin/sh
# Creates the missing passwords, one in each of the given folders, which only those who need it can read. Each is on disk before it is used:
# otherwise a power failure could leave a database whose passwords nobody knows.
set -e
for folder; do
  if [ ! -s "$folder/password" ]; then
    head -c 24 /dev/urandom | base64 > "$folder/new"
    sync "$folder/new"
    mv "$folder/new" "$folder/password"
  fi
  sync "$folder"
done
