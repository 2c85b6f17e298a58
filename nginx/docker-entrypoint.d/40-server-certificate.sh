#!/bin/sh
# Unless the operator provides a server certificate, makes an authority (ca.crt, for peers to trust) that issues one for
# SERVER_NAME: at the first start, when the name changes, and when a third of its lifetime is left.
set -e
cd "${1:-/etc/nginx/tls}"
host=${SERVER_NAME:-localhost}
# In seconds. Apple accepts at most 825 days.
lifetime=$((397 * 86400))

# A name of digits and dots, or with a colon, is an IP address, which needs another kind of subjectAltName.
case $host in
  *:*) kind=IP check=-checkip ;;
  *[!0-9.]*) kind=DNS check=-checkhost ;;
  *) kind=IP check=-checkip ;;
esac

# Clocks differ, so a certificate's validity begins a day ago.
yesterday=$(($(date +%s) - 86400))
after_yesterday() { date -u -d "@$((yesterday + $1))" +%Y%m%d%H%M%SZ; } # after_yesterday SECONDS

# Whether certificate and key exist, are complete, and belong together.
is_pair() { # is_pair CERTIFICATE KEY
  public=$(openssl x509 -in "$1" -noout -pubkey 2> /dev/null) && [ "$public" = "$(openssl pkey -in "$2" -pubout 2> /dev/null)" ]
}

# Makes NAME.crt.new for NAME.key.new, and that too unless it exists. The system's settings would add extensions, so it uses its own.
make() { # make NAME SUBJECT COMMON-NAME SECONDS EXTENSIONS [options]
  name=$1 seconds=$4
  # A common name has at most 64 characters. Clients look for the server's name elsewhere.
  subject=$2/CN=$(printf %.64s "$3")
  printf '[req]\ndistinguished_name = subject\n[subject]\n[made]\n%s\n' "$5" > .settings
  shift 5
  {
    [ -s "$name.key.new" ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key.new"
    openssl req -x509 -config .settings -extensions made -key "$name.key.new" -sha256 -subj "$subject" \
      -not_before "$(after_yesterday 0)" -not_after "$(after_yesterday "$seconds")" -out "$name.crt.new" "$@"
  } 2> .error || { cat .error >&2; return 1; }
  rm .settings .error
  is_whole "$name"
}

# OpenSSL does not report a full disk.
is_whole() { # is_whole NAME
  is_pair "$1.crt.new" "$1.key.new" || { echo "$0: $1.crt and $1.key could not be written completely; is the disk full?" >&2; return 1; }
}

make_certificates() {
  rm -f ca.key.new server.key.new # of an interrupted run
  # An earlier version's certificate was its own authority, and peers trust it: it stays one.
  if ! [ -s ca.crt ] && is_pair server.crt server.key && openssl x509 -in server.crt -noout -ext basicConstraints | grep -q CA:TRUE; then
    (umask 077 && cp server.key ca.key.new)
    cp server.crt ca.crt.new
    is_whole ca
  elif ! [ -s ca.crt ]; then
    # After an interruption there may be a key without a certificate, which may have been trusted already.
    if [ -s ca.key ]; then (umask 077 && cp ca.key ca.key.new); fi
    make ca '/O=Relay Tracker' "Authority of $host" $((20 * 365 * 86400)) 'basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash'
  fi
  if ! [ -s ca.crt ]; then
    mv ca.key.new ca.key
    mv ca.crt.new ca.crt
  fi
  # Must differ from the authority's subject.
  make server '/O=Relay Tracker/OU=Server' "$host" $lifetime "basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $kind:$host, DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid" -CA ca.crt -CAkey ca.key
  # Recorded before it is in place, so that it is never taken for the operator's.
  sha256sum server.crt.new | sed 's/\.new$//' >> .made-here
  # The certificate first: a key alone is never taken for one that was made here.
  mv server.crt.new server.crt
  mv server.key.new server.key
  echo "$0: made a certificate for $host"
}

# A certificate made here is known by its hash and gets renewed. Any other is the operator's and is left alone.
is_due() {
  [ -s server.crt ] || [ -s server.key ] || return 0
  grep -qxF "$(sha256sum server.crt 2> /dev/null)" .made-here 2> /dev/null || return 1
  # An interrupted run may have left the previous key, or the authority in the certificate's place.
  ! { [ -s ca.crt ] && ! cmp -s ca.crt server.crt && is_pair server.crt server.key &&
    openssl x509 -in server.crt -noout -checkend $((lifetime / 3)) > /dev/null &&
    openssl x509 -in server.crt -noout $check "$host" | grep -q 'does match'; }
}

if ! { [ -s server.crt ] && [ -s server.key ]; } && ! is_due; then
  echo "$0: found only one of server.crt and server.key: provide both, or neither" >&2
  exit 1
fi
if is_due; then
  # Two edges may share the folder.
  set +e
  (
    set -e
    flock 9
    if is_due; then make_certificates; fi
  ) 9> .lock
  status=$?
  # Without space, rights or ca.key, the edge continues with what it has.
  if [ $status -ne 0 ]; then
    is_pair server.crt server.key || exit $status
    echo "$0: could not make a certificate for $host; the present one stays in use" >&2
  fi
fi
