#!/bin/sh
# Makes the server's certificate, at the first start and for another SERVER_NAME, unless the operator mounted one.
set -e
cd "${1:-/etc/nginx/tls}"
host=${SERVER_NAME:-localhost}

if [ -s server.crt ] && [ -s server.key ]; then
  # What was made here says so, and for whom. Anything else is the operator's.
  [ -s .made-here ] && sha256sum --check --status .made-here || exit 0
  openssl x509 -in server.crt -noout -checkhost "$host" | grep -q 'does match' && exit 0
elif [ -e server.crt ] || [ -e server.key ]; then
  echo "$0: there has to be a server.crt and a server.key, or neither of them" >&2
  exit 1
fi

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
  -subj "/CN=$host" -addext "subjectAltName=DNS:$host,DNS:localhost,IP:127.0.0.1" \
  -keyout server.key -out server.crt 2>/dev/null
chmod 600 server.key
sha256sum server.crt > .made-here
echo "$0: made a self-signed certificate for $host"
