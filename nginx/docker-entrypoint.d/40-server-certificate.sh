#!/bin/sh
# Makes the server's certificate at the first start, unless the operator mounted one at /etc/nginx/tls.
set -e
cd /etc/nginx/tls
[ -s server.crt ] && [ -s server.key ] && exit 0
host=${SERVER_NAME:-localhost}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
  -subj "/CN=$host" -addext "subjectAltName=DNS:$host,DNS:localhost,IP:127.0.0.1" \
  -keyout server.key -out server.crt 2>/dev/null
chmod 600 server.key
echo "$0: made a self-signed certificate for $host"
