#!/usr/bin/env bash
# A second real S3 server for tests, from one Debian package: OpenStack Swift with its S3 interface (s3api), one
# account, container, object and proxy server each, all on 127.0.0.1. Nothing is kept: everything lives under DIR.
#
#   scripts/swift-s3.sh start DIR [PORT]   installs what is missing (root, apt), starts, prints the endpoint;
#                                          default port 9600; the servers behind it take PORT + 1 to PORT + 3
#   scripts/swift-s3.sh stop DIR           ends what start started and removes DIR
#
# Several can run beside each other, each with a DIR and a PORT of its own. Access key test:pgproof, secret
# pgproof-secret, region us-east-1, path-style addressing. Ready in a few seconds once installed. It enforces
# signatures and the rules of multipart uploads, and takes at most 1,000 parts; it has no Object Lock.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/install-missing.sh"
usage='usage: swift-s3.sh start|stop DIR [PORT]'
verb=${1:?$usage} dir=$(realpath -m "${2:?$usage}") port=${3:-9600}
# The one that Debian's packages belong to.
python=/usr/bin/python3

# Ends the servers by the ids that were noted, and only if the id still belongs to one that was started on this DIR.
stop() {
  local pid
  [[ -s $dir/pids ]] || return 0
  while read -r pid; do
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$dir/serve.py"; then
      kill -KILL "$pid" 2>/dev/null || true
      while [[ -d /proc/$pid && $(<"/proc/$pid/stat") != *') Z '* ]]; do sleep 0.05; done 2>/dev/null
    fi
  done <"$dir/pids"
}

case $verb in
  stop)
    stop
    if [[ -f $dir/swift.conf ]]; then rm -rf "$dir"; fi
    exit 0
    ;;
  start) ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac

missing=()
"$python" -c 'import swift.common.middleware.s3api' 2>/dev/null || missing+=(python3-swift)
command -v curl >/dev/null || missing+=(curl)
install_missing "${missing[@]}"
refuse_foreign "$dir" swift.conf
stop
rm -rf "$dir"
mkdir -p "$dir/disks/d1"
printf '[swift-hash]\nswift_hash_path_prefix = test\nswift_hash_path_suffix = test\n' >"$dir/swift.conf"

# One server; everything that Swift would look for in /etc/swift it finds in DIR.
cat >"$dir/serve.py" <<'PYTHON'
import os, sys
import swift.common.utils as utils
folder = os.path.dirname(os.path.abspath(__file__))
utils.SWIFT_CONF_FILE = os.path.join(folder, 'swift.conf')
utils.validate_hash_conf()
if sys.argv[1] == 'rings':
    from swift.common.ring import RingBuilder
    for name, port in zip(('account', 'container', 'object'), sys.argv[2:]):
        ring = RingBuilder(4, 1, 1)
        ring.add_dev(dict(region=1, zone=1, weight=1, ip='127.0.0.1', port=int(port), device='d1'))
        ring.rebalance()
        ring.get_ring().save(os.path.join(folder, name + '.ring.gz'))
else:
    from swift.common.wsgi import run_wsgi
    sys.exit(run_wsgi(os.path.join(folder, sys.argv[1] + '.conf'), sys.argv[1] + '-server'))
PYTHON

common="bind_ip = 127.0.0.1
workers = 0
user = $(id -un)
swift_dir = $dir
devices = $dir/disks
mount_check = false
log_address = $dir/no-log
# A listing shall know every object that was stored, also on a busy machine.
container_update_timeout = 30
conn_timeout = 10
node_timeout = 60"
backend() {
  printf '[DEFAULT]\nbind_port = %s\n%s\n[pipeline:main]\npipeline = %s-server\n' "$2" "$common" "$1"
  printf '[app:%s-server]\nuse = egg:swift#%s\nconn_timeout = 10\nnode_timeout = 60\n' "$1" "$1"
}
backend account $((port + 1)) >"$dir/account.conf"
backend container $((port + 2)) >"$dir/container.conf"
backend object $((port + 3)) >"$dir/object.conf"
cat >"$dir/proxy.conf" <<CONF
[DEFAULT]
bind_port = $port
$common
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache s3api tempauth slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
# tempauth asks for a cache; none answers, so every answer is fresh.
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_pgproof = pgproof-secret .admin
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# One slow answer on a busy machine is no reason to shun the only server there is.
error_suppression_limit = 1000000
conn_timeout = 10
node_timeout = 60
CONF

"$python" "$dir/serve.py" rings $((port + 1)) $((port + 2)) $((port + 3))
for server in account container object proxy; do
  setsid "$python" "$dir/serve.py" "$server" </dev/null >"$dir/$server.log" 2>&1 &
  echo $! >>"$dir/pids"
done
for each in $((port + 1)) $((port + 2)) $((port + 3)) "$port"; do
  answered=false
  for _ in $(seq 240); do
    if curl -s -o /dev/null "127.0.0.1:$each/healthcheck"; then answered=true && break; fi
    sleep 0.25
  done
  if ! $answered; then
    tail -n 5 "$dir"/*.log >&2
    stop
    exit 1
  fi
done
echo "http://127.0.0.1:$port"
