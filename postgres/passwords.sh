#!/bin/sh
# Makes the passwords that are not there yet: one for each of the folders given, where only those who need it read it. Each is on the disk
# before anybody has it, or else a power cut could leave a database whose passwords nobody knows.
set -e
for folder; do
  if [ ! -s "$folder/password" ]; then
    head -c 24 /dev/urandom | base64 > "$folder/new"
    sync "$folder/new"
    mv "$folder/new" "$folder/password"
  fi
  sync "$folder"
done
