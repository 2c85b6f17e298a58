#!/bin/sh
# Makes the passwords that are not there yet: one for each of the folders given, where only those who need it read it.
set -e
for folder; do
  [ -s "$folder/password" ] && continue
  head -c 24 /dev/urandom | base64 > "$folder/new"
  mv "$folder/new" "$folder/password"
done
