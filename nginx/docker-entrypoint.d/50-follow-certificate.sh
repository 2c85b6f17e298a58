#!/bin/sh
# Renews the certificate if it is due, and reloads nginx within the hour when it has changed, even if the operator changed it.
cd /etc/nginx/tls
known=$(cat server.crt server.key | sha256sum)
while sleep 3600; do
  /docker-entrypoint.d/40-server-certificate.sh
  now=$(cat server.crt server.key | sha256sum)
  # Files that do not match yet are checked again in an hour.
  [ "$now" = "$known" ] || { nginx -t -q && nginx -s reload && known=$now; }
done &
