#!/bin/sh
# The `setup` service of docker-compose.yml: makes the passwords, the keys and a token that are not there yet, and changes
# nothing that is. Runs at each `docker compose up`. Every file belongs to the user of the one container that reads it.
set -eu
umask 077
cd "${1:-/compose}"

# random FILE: 24 random bytes as text, whole or not at all.
random() {
  [ -s "$1" ] && return
  mkdir -p "$(dirname "$1")"
  head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' > "$1.new"
  mv "$1.new" "$1"
  echo "made compose/$1"
}

# copy FROM TO: each container sees its own secrets only, so two that share one have a copy each.
copy() {
  mkdir -p "$(dirname "$2")"
  if [ ! -s "$2" ]; then cp "$1" "$2"; fi
}

random secrets/db/pg_password
copy secrets/db/pg_password secrets/pgproof/pg_password
random secrets/s3/s3_secret
copy secrets/s3/s3_secret secrets/pgproof/s3_secret
random secrets/grafana_password
copy secrets/grafana_password secrets/grafana/admin_password
random secrets/token
printf %s "$(cat secrets/token)" | sha256sum | cut -c1-64 > secrets/pgproof/ops.sha256.new
mv secrets/pgproof/ops.sha256.new secrets/pgproof/ops.sha256
# The numbers are those of the users in the images of PostgreSQL, pgproof and Grafana. The rest is for you.
owner=$(stat -c %u:%g secrets)
chown "$owner" secrets/token secrets/grafana_password
chown -R 999:999 secrets/db
chown -R 1000:1000 secrets/pgproof
chown -R 0:0 secrets/s3
chown -R 472:0 secrets/grafana

# keys NAME OPTIONS: in a folder of its own first, so that there is a whole pair or none.
keys() {
  name=$1
  shift
  [ -s "keys/$name.pub.asc" ] && return
  rm -rf keys/new
  mkdir -p keys/new
  pgproof keygen --out keys/new --name "$name" "$@" >/dev/null 2>&1
  # The public keys last: they say that the pair is whole.
  for file in keys/new/*-escrow.key.asc keys/new/*-escrow.rev.asc keys/new/*.kit.md; do
    if [ -e "$file" ]; then mv "$file" escrow/; fi
  done
  for file in keys/new/*.rev.asc keys/new/*.key.asc keys/new/*-escrow.pub.asc "keys/new/$name.pub.asc"; do
    if [ -e "$file" ]; then mv "$file" keys/; fi
  done
  rmdir keys/new
  echo "made compose/keys/$name.*"
}

mkdir -p escrow
keys backup --with-escrow
keys signing --signing
chown -R 1000:1000 keys
chown -R "$owner" escrow
if [ -e escrow/backup-escrow.key.asc ]; then
  echo "compose/escrow holds a key that opens every backup: keep it in a safe place, and not on this machine"
fi
