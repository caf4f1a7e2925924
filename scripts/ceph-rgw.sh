#!/usr/bin/env bash
# A real S3 server for tests, from Debian packages: one Ceph monitor, one in-memory OSD and one RADOS gateway,
# all on 127.0.0.1. Nothing is kept: everything lives under DIR and in memory.
#
#   scripts/ceph-rgw.sh start DIR [PORT]   installs what is missing (root, apt), starts, prints the endpoint;
#                                          default port 9400; the monitor takes PORT + 1
#   scripts/ceph-rgw.sh stop DIR           ends what start started and removes DIR
#
# Several can run beside each other, each with a DIR and a PORT of its own. Access key pgproof, secret pgproof-secret,
# region us-east-1, path-style addressing; the users pgproof-writer, pgproof-reader and pgproof-pruner, with secrets of the
# same form, may do what the policy of a bucket gives them. Ready in about 15 s once installed. OSD_GIB is how much it can hold
# (default 6). It enforces signatures, multipart rules, versioning and Object Lock; If-None-Match is honoured on
# unversioned buckets and ignored on versioned ones.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/install-missing.sh"
usage='usage: ceph-rgw.sh start|stop DIR [PORT]'
verb=${1:?$usage} dir=$(realpath -m "${2:?$usage}") port=${3:-9400}
mon_port=$((port + 1))

# Ends the daemons by the ids that they wrote, and only if the id still belongs to one that was started on this DIR.
stop() {
  local daemon pid
  for daemon in rgw osd mon; do
    [[ -s $dir/$daemon.pid ]] || continue
    pid=$(<"$dir/$daemon.pid")
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$dir/ceph.conf"; then
      kill -KILL "$pid" 2>/dev/null || true
    fi
  done
}

case $verb in
  stop)
    stop
    if [[ -f $dir/ceph.conf ]]; then rm -rf "$dir"; fi
    exit 0
    ;;
  start) ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac

missing=()
for pair in radosgw:radosgw radosgw-admin:radosgw ceph-mon:ceph-mon ceph-osd:ceph-osd ceph:ceph-common curl:curl; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
install_missing "${missing[@]}"
refuse_foreign "$dir" ceph.conf
stop
rm -rf "$dir"
mkdir -p "$dir"/{mon,osd,run,rgw}
fsid=$(</proc/sys/kernel/random/uuid) osd_uuid=$(</proc/sys/kernel/random/uuid)
cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = 127.0.0.1:$mon_port
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $dir/keyring
run dir = $dir/run
log file = $dir/\$name.log
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
[mon]
mon data = $dir/mon
mon data avail crit = 1
mon data avail warn = 2
[osd]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = $((${OSD_GIB:-6} << 30))
[client.admin]
rgw data = $dir/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
# Else what was deleted keeps its room for two hours.
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
CONF

ceph=(ceph -c "$dir/ceph.conf")
start() {
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n client.admin \
    --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-authtool "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
  monmaptool --create --add a "127.0.0.1:$mon_port" --fsid "$fsid" "$dir/monmap"
  ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
  ceph-mon -c "$dir/ceph.conf" -i a --pid-file "$dir/mon.pid"
  "${ceph[@]}" config set mon auth_allow_insecure_global_id_reclaim false
  "${ceph[@]}" osd new "$osd_uuid"
  ceph-authtool "$dir/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  "${ceph[@]}" auth add osd.0 -i "$dir/keyring"
  ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd_uuid"
  ceph-osd -c "$dir/ceph.conf" -i 0 --pid-file "$dir/osd.pid"
  cp "$dir/keyring" "$dir/rgw/keyring"
  radosgw -c "$dir/ceph.conf" -n client.admin --pid-file "$dir/rgw.pid"
  local answered=false
  for _ in $(seq 240); do
    if curl -s -o /dev/null "127.0.0.1:$port"; then answered=true && break; fi
    sleep 0.25
  done
  $answered
  local user
  for user in pgproof pgproof-writer pgproof-reader pgproof-pruner; do
    radosgw-admin -c "$dir/ceph.conf" user create --uid=$user --display-name=$user \
      --access-key=$user --secret-key=$user-secret
  done
}
# A subshell of its own, because `set -e` is off inside the condition of an `if` or `||`.
set +e
(
  set -e
  start
) >"$dir/start.log" 2>&1
outcome=$?
set -e
if ((outcome != 0)); then
  tail -20 "$dir/start.log" >&2
  stop
  exit 1
fi
echo "http://127.0.0.1:$port"
