#!/bin/sh
# Writes the parts of nginx's configuration that depend on the machine: where it listens, how many workers it has, and whether it
# can count connections before their handshake. Limits the workers' memory, so that the kernel kills none of them in a flood.
set -e
folder=${1:-/etc/nginx/conf.d}

# Whether nginx accepts these directives on this machine. It opens the sockets to find out.
can() { # can DIRECTIVES
  probe=$(mktemp)
  echo "include /etc/nginx/modules-enabled/*.conf; pid $probe.pid; events {} $1" > "$probe"
  status=0
  nginx -t -q -c "$probe" 2> /dev/null || status=1
  rm -f "$probe" "$probe.pid"
  return $status
}

# The container's, in bytes; "max" or a huge number if there is none.
memory_limit() {
  cat /sys/fs/cgroup/memory.max 2> /dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || echo max
}

# The kernel may lack IPv6. Separate sockets keep IPv4 addresses from appearing as IPv6 ones.
listen() { # listen [OPTION]
  echo "listen 443${1:+ $1};"
  if can 'http { server { listen [::]:443 ipv6only=on; } }'; then echo "listen [::]:443${1:+ $1} ipv6only=on;"; fi
}

# nginx's http module counts a connection only while it has a request. The stream module counts it from the first packet to its
# end, and since 1.25.5 can pass it on as it is.
if can 'stream { server { listen 127.0.0.1:4430; pass 127.0.0.1:4431; } }'; then
  cat > "$folder/front.main" << END
stream {
  include /etc/nginx/relay/caller.conf;
  limit_conn_zone \$caller zone=open:10m;
  limit_conn open ${EDGE_OPEN_CONNECTIONS:-200};
  limit_conn_log_level warn;
  server {
    $(listen)
    pass 127.0.0.1:4430;
  }
}
END
  echo 'listen 127.0.0.1:4430 ssl;' > "$folder/relay.listen"
else
  rm -f "$folder/front.main"
  listen ssl > "$folder/relay.listen"
  echo "$0: open connections are not limited: nginx has no stream module or is older than 1.25.5; a packet filter can limit them (examples/nftables)" >&2
fi

# Workers share four fifths of the container's memory, at least 256 MiB each. A worker that has used up its share closes only the
# connection that needs more.
limit=$(memory_limit)
workers=auto
if [ "$limit" != max ] && [ "$limit" -lt $((1 << 50)) ]; then
  share=$((limit / 5 * 4))
  workers=$((share >> 28))
  [ "$workers" -ge 1 ] || workers=1
  [ "$workers" -le "$(nproc)" ] || workers=$(nproc)
  # The image's entrypoint becomes nginx, and there may be another process between it and this script.
  pid=$PPID
  while grep -q docker-entrypoint "/proc/$pid/cmdline" 2> /dev/null; do
    prlimit --pid "$pid" --data=$((share / workers))
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  done
fi
echo "worker_processes $workers;" > "$folder/workers.main"
