#!/bin/sh
# nginx resolves the API's name only when it reads its configuration. This reloads it when the name gets a new address, or has
# lost one for ten seconds: an API was added, moved, or is gone. A mere restart is not worth a reload, which closes every
# caller's idle connection: nginx asks another API meanwhile.
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
