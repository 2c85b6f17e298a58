#!/bin/sh
# Within the hour nginx takes a renewed certificate into use, whoever renewed it: 40-server-certificate.sh, which is asked here, or the operator.
cd /etc/nginx/tls
known=$(cat server.crt server.key | sha256sum)
while sleep 3600; do
  /docker-entrypoint.d/40-server-certificate.sh
  now=$(cat server.crt server.key | sha256sum)
  # Files that do not belong together yet are looked at again.
  [ "$now" = "$known" ] || { nginx -t -q && nginx -s reload && known=$now; }
done &
