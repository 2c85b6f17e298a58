#!/bin/sh
# Writes the parts of nginx's configuration that depend on the machine: where it listens, how many workers it has, and whether it can count
# connections before their handshake. Limits the workers' memory, so that no flood makes the kernel end one of them.
set -e
folder=${1:-/etc/nginx/conf.d}

# Whether this nginx can do it on this machine. It opens the sockets to find out.
can() { # can DIRECTIVES
  probe=$(mktemp)
  echo "include /etc/nginx/modules-enabled/*.conf; pid $probe.pid; events {} $1" > "$probe"
  status=0
  nginx -t -q -c "$probe" 2> /dev/null || status=1
  rm -f "$probe" "$probe.pid"
  return $status
}

# The container's, in bytes; "max" or a huge number where there is none.
memory_limit() {
  cat /sys/fs/cgroup/memory.max 2> /dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || echo max
}

# A kernel may have no IPv6. Each family has a socket of its own, so that no IPv4 address comes as an IPv6 one.
listen() { # listen [OPTION]
  echo "listen 443${1:+ $1};"
  if can 'http { server { listen [::]:443 ipv6only=on; } }'; then echo "listen [::]:443${1:+ $1} ipv6only=on;"; fi
}

# nginx's http part counts a connection only while it has a request under way. Its stream part counts every one from its first packet until it
# is closed, and hands it on as it is; it can do that since 1.25.5.
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
  echo "$0: this nginx has no stream module, or is older than 1.25.5: one caller may open connections without limit" >&2
fi

# Four fifths of the container's memory are the workers', at least 256 MiB each. A worker that has used up its share ends the connection that
# needs more, and no other.
limit=$(memory_limit)
workers=auto
if [ "$limit" != max ] && [ "$limit" -lt $((1 << 50)) ]; then
  share=$((limit / 5 * 4))
  workers=$((share >> 28))
  [ "$workers" -ge 1 ] || workers=1
  [ "$workers" -le "$(nproc)" ] || workers=$(nproc)
  # The image's entrypoint becomes nginx. A process of its own may be between it and this script.
  pid=$PPID
  while grep -q docker-entrypoint "/proc/$pid/cmdline" 2> /dev/null; do
    prlimit --pid "$pid" --data=$((share / workers))
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  done
fi
echo "worker_processes $workers;" > "$folder/workers.main"
