#!/bin/sh
# nginx looks the API's name up once, when it reads its configuration. So it reads it again, gracefully, when the name gets
# another address, or has lost one for ten seconds: an API was added, came back elsewhere, or is gone. One that is merely
# restarted is not worth it: nginx asks another meanwhile, while to read again closes every caller's idle connection.
name=${API_UPSTREAM%:*}
addresses() {
  getent ahosts "$name" | cut -d ' ' -f 1 | sort -u
}

known=$(addresses)
changed=0
while sleep 1; do
  now=$(addresses)
  changed=$((changed + 1))
  [ "$now" = "$known" ] && changed=0
  [ -n "$now" ] || continue
  if echo "$now" | grep -qvxF "$known" || [ "$changed" -ge 10 ]; then
    nginx -s reload 2>/dev/null && known=$now && changed=0
  fi
done &
