#!/bin/sh
# The server's certificate. Unless the operator has put one there, an authority is made (ca.crt, for peers to trust), and it issues one for
# SERVER_NAME: at the first start, for another name, and when a third of its time is left.
set -e
cd "${1:-/etc/nginx/tls}"
host=${SERVER_NAME:-localhost}
# Seconds: Apple takes no more than 825 days.
lifetime=$((397 * 86400))

from_now() { date -u -d "@$(($(date +%s) + $1))" +%Y%m%d%H%M%SZ; }

# Makes a key and a certificate, with settings of its own, for those of the system would add to them. It begins a day ago, for clocks differ.
make() { # make NAME SUBJECT SECONDS EXTENSIONS [options]
  name=$1 subject=$2 seconds=$3
  printf '[req]\ndistinguished_name = subject\n[subject]\n[made]\n%s\n' "$4" > .settings
  shift 4
  openssl req -x509 -config .settings -extensions made -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "$subject" \
    -not_before "$(from_now -86400)" -not_after "$(from_now $((seconds - 86400)))" -keyout new.key -out "$name.crt.new" "$@" 2> .error ||
    { cat .error >&2; return 1; }
  rm .settings .error
  chmod 600 new.key
  mv new.key "$name.key"
}

make_certificates() {
  # What an earlier version made was its own authority, which peers trust: it goes on as one.
  if [ -s server.crt ] && ! [ -s ca.crt ]; then
    cp server.key ca.key
    cp server.crt ca.crt
  fi
  if ! [ -s ca.crt ]; then
    make ca "/O=Relay Tracker/CN=Authority of $host" $((20 * 365 * 86400)) 'basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash'
    mv ca.crt.new ca.crt
  fi
  # Its subject is never the authority's.
  make server "/O=Relay Tracker/OU=Server/CN=$host" $lifetime "basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$host, DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid" -CA ca.crt -CAkey ca.key
  # As sha256sum is going to call it, and before it is there: then nobody takes it for the operator's.
  sha256sum server.crt.new | sed 's/\.new$//' >> .made-here
  mv server.crt.new server.crt
  echo "$0: made a certificate for $host"
}

# What was made here is known by its hash, and replaced in time. Anything else is the operator's.
is_due() {
  [ -s server.crt ] && [ -s server.key ] || return 0
  grep -qxF "$(sha256sum server.crt)" .made-here 2> /dev/null || return 1
  ! { [ -s ca.crt ] && openssl x509 -in server.crt -noout -checkend $((lifetime / 3)) > /dev/null &&
    openssl x509 -in server.crt -noout -checkhost "$host" | grep -q 'does match'; }
}

if { [ -e server.crt ] || [ -e server.key ]; } && ! { [ -s server.crt ] && [ -s server.key ]; } && ! [ -e .made-here ]; then
  echo "$0: there has to be a server.crt and a server.key, or neither of them" >&2
  exit 1
fi
# One at a time, where two edges share the folder.
if is_due; then
  (flock 9 && if is_due; then make_certificates; fi) 9> .lock
fi
