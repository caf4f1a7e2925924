#!/usr/bin/env bash
# A PostgreSQL 17 server for the tests on a system that has an older one.
#
#   newer-postgres.sh CACHE PORT
#
# Serves on 127.0.0.1:PORT, trusting everybody there, until its standard input ends: so it is gone even when the tests
# crash. Prints "started" once the server starts. Server programs are those of the system, else (as root) those of
# Debian 13, unpacked once into CACHE and run in there; nothing is mounted. CACHE/bin then has pg_dump and pg_dumpall.
set -euo pipefail
cache=$1 port=$2 major=17

bin=/usr/lib/postgresql/$major/bin
root=
if [[ ! -x $bin/postgres ]]; then
  root=$cache/debian-13-postgresql-$major
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  if [[ ! -d $root ]]; then
    if ((EUID != 0)); then
      echo "no $bin, and only root can unpack Debian 13 to take it from there" >&2
      exit 1
    fi
    if ! command -v mmdebstrap >/dev/null; then
      echo "no $bin, and no mmdebstrap to get it by (apt-get install mmdebstrap)" >&2
      exit 1
    fi
    rm -rf "$root.unfinished"
    mmdebstrap --quiet --variant=minbase --include="postgresql-$major" \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' trixie "$root.unfinished" >&2
    mv "$root.unfinished" "$root"
  fi
  mkdir -p "$cache/bin"
  for program in pg_dump pg_dumpall; do
    printf '#!/bin/sh\nexec chroot "%s" %s "$@"\n' "$root" "$bin/$program" >"$cache/bin/$program"
    chmod +x "$cache/bin/$program"
  done
  exec 9>&-
fi

# As the system's user `postgres`, which here and there need not have the same number.
run=()
if [[ -n $root ]]; then
  run=(chroot --userspec=postgres:postgres "$root")
elif ((EUID == 0)); then
  run=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi

cd /
folder=$("${run[@]}" mktemp -d /tmp/pgproof-newer-XXXXXX)
server=
stop() {
  trap - EXIT
  if [[ -n $server ]]; then
    kill -QUIT "$server" || true
    wait "$server" || true
  fi
  [[ -z $folder ]] || rm -rf "$root$folder"
} 2>/dev/null
trap stop EXIT
trap 'exit 143' TERM INT HUP

"${run[@]}" $bin/initdb -D "$folder/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null
"${run[@]}" tee -a "$folder/data/postgresql.conf" >/dev/null <<CONF
port=$port
listen_addresses='127.0.0.1'
unix_socket_directories=''
dynamic_shared_memory_type=mmap
fsync=off
full_page_writes=off
log_min_messages=fatal
CONF
exec 3<&0
"${run[@]}" $bin/postgres -D "$folder/data" </dev/null >&2 3<&- &
server=$!
echo started
# Until the tests have ended or the server has.
cat <&3 >/dev/null &
wait -n "$server" $! || true
