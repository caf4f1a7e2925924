#!/usr/bin/env bash
# Images under the names of the official ones, from Debian and npm packages: for a machine that has a Docker engine but
# can pull nothing, so that Dockerfile, docker-compose.yml, scripts/try-container.sh and the tests' Testcontainers path
# run there as well. They stand in for the official images and are not them: say so where a result rests on one.
#
#   scripts/stand-in-images.sh [node] [postgres] [minio] [prometheus]      without arguments: all
#
#   node        node:24-trixie-slim   Node 24 and npm
#   postgres    postgres:17           PostgreSQL 17; POSTGRES_USER, _PASSWORD, _PASSWORD_FILE, _DB, _INITDB_ARGS as in the official one
#   minio       minio/minio:…         Ceph's S3 gateway behind the command line, the health check and the variables of MinIO
#   prometheus  prom/prometheus:…     Debian's Prometheus
#
# The tags are those that docker-compose.yml names. Needs root, Docker, apt and mmdebstrap; about a minute each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install-missing.sh
missing=()
for pair in docker:docker.io mmdebstrap:mmdebstrap npm:npm; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
install_missing "${missing[@]}"
docker info >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The name with tag by which docker-compose.yml calls an image.
tag_of() { grep -oE "$1:[A-Za-z0-9_.-]+" docker-compose.yml | head -1; }

# A root file system of the packages that are named.
unpack() {
  rm -rf "$work/root"
  mmdebstrap --quiet --variant=minbase --include="$1" --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' trixie "$work/root" >/dev/null
  cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
}

# The file system as an image; the rest are lines of a Dockerfile.
import() {
  local name=$1 changes=()
  shift
  for change; do changes+=(--change "$change"); done
  tar -C "$work/root" -c . | docker import "${changes[@]}" - "$name" >/dev/null
  echo "$name"
}

program() { install -D -m 755 /dev/stdin "$work/root$1"; }

node_image() {
  unpack ca-certificates,libstdc++6,libatomic1
  (cd "$work" && npm init -y >/dev/null 2>&1 && npm install --no-save node@24 >/dev/null 2>&1)
  install -m 755 "$(readlink -f "$work/node_modules/.bin/node")" "$work/root/usr/local/bin/node"
  mkdir -p "$work/root/usr/local/lib/node_modules" "$work/root/usr/local/etc"
  cp -r "$(npm root -g 2>/dev/null)/npm" "$work/root/usr/local/lib/node_modules/npm"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$work/root/usr/local/bin/npm"
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$work/root/usr/local/bin/npx"
  {
    echo "registry=$(npm config get registry 2>/dev/null)"
    echo cafile=/etc/ssl/certs/ca-certificates.crt
  } >"$work/root/usr/local/etc/npmrc"
  chroot "$work/root" useradd --create-home --uid 1000 node
  import node:24-trixie-slim 'CMD ["node"]' 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt'
}

postgres_image() {
  unpack postgresql-17,ca-certificates,locales-all
  program /usr/local/bin/docker-entrypoint.sh <<'ENTRY'
#!/bin/bash
set -e
[ "${1:0:1}" = - ] && set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
[ "$(id -u)" = 0 ] && { chown -R postgres "$PGDATA"; exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"; }
[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
user=${POSTGRES_USER:-postgres} db=${POSTGRES_DB:-$user}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$user" --pwfile=<(echo "${POSTGRES_PASSWORD:?}") --auth-host=scram-sha-256 --auth-local=trust \
    ${POSTGRES_INITDB_ARGS:-} >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "-c listen_addresses=''"
  [ "$db" = postgres ] || createdb -U "$user" "$db"
  for f in /docker-entrypoint-initdb.d/*; do case "$f" in
    *.sql) psql -v ON_ERROR_STOP=1 -U "$user" -d "$db" -f "$f" ;; *.sh) . "$f" ;; esac; done
  pg_ctl -m fast -w stop
fi
exec "$@" -c listen_addresses='*'
ENTRY
  mkdir -p "$work/root/var/lib/postgresql/data" "$work/root/docker-entrypoint-initdb.d" "$work/root/run/postgresql"
  # The number that the official image's user has.
  chroot "$work/root" sh -c 'usermod -u 999 postgres && groupmod -g 999 postgres' >/dev/null 2>&1
  chroot "$work/root" chown -R postgres:postgres /var/lib/postgresql /run/postgresql
  chmod 3777 "$work/root/run/postgresql"
  import postgres:17 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]' 'EXPOSE 5432' \
    'ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' \
    'ENV PGDATA=/var/lib/postgresql/data' 'ENV LANG=en_US.UTF-8' 'VOLUME /var/lib/postgresql/data'
}

minio_image() {
  unpack radosgw,ceph-mon,ceph-osd,ceph-common,ca-certificates,curl,python3-boto3
  sed "s/endpoint=127.0.0.1:/endpoint=0.0.0.0:/" scripts/ceph-rgw.sh >"$work/root/usr/local/bin/ceph-rgw.sh"
  cp scripts/install-missing.sh "$work/root/usr/local/bin/"
  # `minio server FOLDER`: each folder in FOLDER is a bucket. Kept in memory only.
  program /usr/bin/minio <<'MINIO'
#!/bin/bash
set -euo pipefail
[ -z "${MINIO_ROOT_PASSWORD_FILE:-}" ] || MINIO_ROOT_PASSWORD=$(<"$MINIO_ROOT_PASSWORD_FILE")
export AWS_ACCESS_KEY_ID=${MINIO_ROOT_USER:-minioadmin} AWS_SECRET_ACCESS_KEY=${MINIO_ROOT_PASSWORD:-minioadmin}
folder=
for word; do [[ $word != /* ]] || folder=$word; done
bash /usr/local/bin/ceph-rgw.sh start /tmp/ceph 9000
radosgw-admin -c /tmp/ceph/ceph.conf user create --uid=root --display-name=root \
  --access-key="$AWS_ACCESS_KEY_ID" --secret-key="$AWS_SECRET_ACCESS_KEY" >/dev/null 2>&1 ||
  radosgw-admin -c /tmp/ceph/ceph.conf key create --uid=pgproof --key-type=s3 \
    --access-key="$AWS_ACCESS_KEY_ID" --secret-key="$AWS_SECRET_ACCESS_KEY" >/dev/null
# MinIO's health addresses are objects here, which everybody may read.
python3 - "$folder" <<'BUCKETS'
import os, sys, boto3
s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:9000', region_name='us-east-1')
for name in os.listdir(sys.argv[1]) if sys.argv[1] else []:
    s3.create_bucket(Bucket=name)
s3.create_bucket(Bucket='minio', ACL='public-read')
for name in ('live', 'ready', 'cluster'):
    s3.put_object(Bucket='minio', Key='health/' + name, Body=b'', ACL='public-read')
BUCKETS
trap 'exit 0' TERM INT
sleep infinity & wait
MINIO
  program /usr/bin/mc <<'MC'
#!/bin/sh
exec curl --fail --silent --output /dev/null http://127.0.0.1:9000/minio/health/ready
MC
  program /usr/bin/docker-entrypoint.sh <<'ENTRY'
#!/bin/sh
[ "$1" = minio ] || set -- minio "$@"
exec "$@"
ENTRY
  mkdir -p "$work/root/data"
  import "$(tag_of minio/minio)" 'ENTRYPOINT ["/usr/bin/docker-entrypoint.sh"]' 'CMD ["minio"]' 'EXPOSE 9000' 'VOLUME /data'
}

prometheus_image() {
  unpack prometheus,ca-certificates
  mkdir -p "$work/root/prometheus"
  chroot "$work/root" chown nobody:nogroup /prometheus
  ln -s /usr/bin/prometheus "$work/root/bin/prometheus" 2>/dev/null || true
  import "$(tag_of prom/prometheus)" 'USER nobody' 'WORKDIR /prometheus' 'VOLUME /prometheus' 'EXPOSE 9090' \
    'ENTRYPOINT ["/bin/prometheus"]' \
    'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]'
}

for image in "${@:-node postgres minio prometheus}"; do
  for one in $image; do "${one}_image"; done
done
