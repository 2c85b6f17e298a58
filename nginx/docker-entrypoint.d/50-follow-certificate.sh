#!/bin/sh
# Has nginx use a renewed certificate within the hour, whether 40-server-certificate.sh, which is run here, or the operator renewed it.
cd /etc/nginx/tls
known=$(cat server.crt server.key | sha256sum)
while sleep 3600; do
  /docker-entrypoint.d/40-server-certificate.sh
  now=$(cat server.crt server.key | sha256sum)
  # If the files do not match yet, they are checked again in an hour.
  [ "$now" = "$known" ] || { nginx -t -q && nginx -s reload && known=$now; }
done &
