#!/bin/sh
# nginx looks the API's name up once, when it reads its configuration. So it reads it again, gracefully, when the name gets
# other addresses: an API was added, or came back elsewhere.
name=${API_UPSTREAM%:*}
addresses() {
  getent ahosts "$name" | cut -d ' ' -f 1 | sort -u
}

known=$(addresses)
while sleep 1; do
  now=$(addresses)
  if [ -n "$now" ] && [ "$now" != "$known" ]; then
    nginx -s reload 2>/dev/null && known=$now
  fi
done &
