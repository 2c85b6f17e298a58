#!/bin/sh
# Unless the operator provides a server certificate, makes an authority (ca.crt, for peers to trust) and has it issue one for SERVER_NAME: at
# the first start, when the name changes, and when a third of its lifetime is left.
set -e
cd "${1:-/etc/nginx/tls}"
host=${SERVER_NAME:-localhost}
# In seconds. Apple accepts at most 825 days.
lifetime=$((397 * 86400))

from_now() { date -u -d "@$(($(date +%s) + $1))" +%Y%m%d%H%M%SZ; }

# Makes a key and a certificate, with its own settings, because the system's would add extensions. It is valid from a day ago because clocks differ.
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
  # A certificate that an earlier version made was self-signed, and peers trust it: it becomes the authority.
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
  # The subject must differ from the authority's.
  make server "/O=Relay Tracker/OU=Server/CN=$host" $lifetime "basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$host, DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid" -CA ca.crt -CAkey ca.key
  # Recorded under its final name, and before it is in place, so that it is never taken for the operator's.
  sha256sum server.crt.new | sed 's/\.new$//' >> .made-here
  mv server.crt.new server.crt
  echo "$0: made a certificate for $host"
}

# A certificate made here is known by its hash, and is renewed. Any other is the operator's, and is left alone.
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
# One at a time, because two edges may share the folder.
if is_due; then
  (flock 9 && if is_due; then make_certificates; fi) 9> .lock
fi
