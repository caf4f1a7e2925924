#!/usr/bin/env bash
# Builds the image, starts docker-compose.yml from a clean copy of it, and tries in there what must work: a backup, a
# drill, metrics, restarts, SIGTERM during a dump. Prints one line for each; the exit code is 0 if nothing failed.
#
#   scripts/try-container.sh              builds the image first
#   scripts/try-container.sh --no-build   takes the image `pgproof` that is there
#
# PGDG=no builds with Debian's PostgreSQL alone, BUILD_NETWORK=host lets the build use the host's network. Needs a Docker
# engine with the compose plugin (2.24 or newer). Where no image can be pulled: scripts/stand-in-images.sh. An image that
# cannot be had leaves its checks out, and says so. About three minutes; everything it made is removed in the end.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
work=$(mktemp -d)
failed=0
pass() { printf 'PASS     %s\n' "$*"; }
fail() { printf 'FAIL     %s\n' "$*"; failed=$((failed + 1)); }
not_run() { printf 'NOT RUN  %s\n' "$*"; }
# check WHAT COMMAND…: passes if the command does; shows what it said if not.
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then pass "$what"; else fail "$what"; tail -15 <<<"$said" | sed 's/^/         /'; fi
}
# until_true SECONDS COMMAND…
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}

if [[ ${1:-} != --no-build ]]; then
  build=(docker build --network "${BUILD_NETWORK:-default}" --build-arg "PGDG=${PGDG:-yes}" --tag pgproof .)
  check 'the image builds' "${build[@]}"
fi

# The image by itself.
inspect() { docker image inspect --format "$1" pgproof; }
check 'image: the user is not root' test "$(inspect '{{.Config.User}}')" = 1000:1000
check 'image: the entry point is tini' test "$(inspect '{{index .Config.Entrypoint 0}}')" = tini
check 'image: has a health check' grep -q healthcheck <<<"$(inspect '{{.Config.Healthcheck.Test}}')"
check 'image: OCI labels' grep -q 'image.version:[0-9]' <<<"$(inspect '{{.Config.Labels}}')"
locked=(docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp)
check 'image: runs with a read-only root and no capabilities' "${locked[@]}" pgproof --version
check 'image: nothing that builds or installs node packages' \
  "${locked[@]}" --entrypoint sh pgproof -c 'for tool in npm npx yarn corepack gcc cc make; do ! command -v $tool || exit 1; done'
check 'image: the allocator is jemalloc' \
  "${locked[@]}" --entrypoint node pgproof -e "process.exit(/jemalloc/.test(require('fs').readFileSync('/proc/self/maps', 'utf8')) ? 0 : 1)"
programs=$("${locked[@]}" --entrypoint sh pgproof -c 'for p in /usr/lib/postgresql/*/bin/pg_dump; do $p --version; done')
check 'image: has pg_dump' test -n "$programs"
printf '         %s, %s MB\n' "$(tr '\n' ' ' <<<"$programs")" "$(($(inspect '{{.Size}}') / 1000000))"

# A clean clone: nothing that git does not have.
mkdir -p "$work/clone"
tar -c --exclude=compose/secrets/?* --exclude=compose/keys/?* --exclude=compose/escrow/?* \
  docker-compose.yml compose config deploy/seccomp test/container/try.yaml | tar -x -C "$work/clone"
mkdir -p "$work/clone/compose"/{secrets,keys,escrow}
cd "$work/clone"
compose() { docker compose --project-name pgproof-try --file docker-compose.yml --file test/container/try.yaml "$@"; }
clean_up() {
  compose down --volumes --timeout 5 >/dev/null 2>&1
  cd "$root" && rm -rf "$work"
}
trap clean_up EXIT
check 'compose: the file is valid' compose config --quiet
services=(setup pgproof)
for service in db s3 prometheus grafana; do
  image=$(compose config --format json | node -p "JSON.parse(require('node:fs').readFileSync(0)).services['$service'].image")
  if docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" >/dev/null 2>&1; then
    services+=("$service")
  else
    not_run "$service: no image $image"
  fi
done
has() { [[ " ${services[*]} " == *" $1 "* ]]; }
# `--wait` takes a service that has done its work for one that failed, so the ones that stay are named.
up() { compose up --detach --no-build --wait --wait-timeout 180 "${services[@]:1}"; }
check 'compose: up from a clean clone, every service healthy' up
if ((failed > 0)); then
  compose logs --tail 5 2>&1 | sed 's/^/         /'
  exit 1
fi
made() { find compose -type f ! -name setup.sh ! -name pgproof.yaml -exec sha256sum {} + | sort; }
before=$(made)
check 'setup: made passwords, keys, a token' test "$(wc -l <<<"$before")" -ge 12
again() { up && test "$(made)" = "$before"; }
check 'setup: a second time changes nothing' again
no_secret_shown() {
  local file shown
  shown=$(compose logs 2>/dev/null; docker inspect $(compose ps --quiet --all))
  for file in compose/secrets/token compose/secrets/*/*{password,secret}; do
    ! grep -qF -- "$(<"$file")" <<<"$shown" || return 1
  done
}
check 'setup: no secret in any log or container setting' no_secret_shown

inside() { compose exec --no-TTY pgproof "$@"; }
cli() { inside pgproof "$@"; }
sql() { compose exec --no-TTY db psql --username=postgres --no-psqlrc --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1 "$@"; }
check 'container: process 1 is tini' test "$(inside cat /proc/1/comm)" = tini
locked_up() {
  local status
  status=$(inside cat /proc/1/status) &&
    grep -q '^Uid:.1000' <<<"$status" && grep -q '^CapEff:.0*$' <<<"$status" && grep -q '^NoNewPrivs:.1' <<<"$status"
}
check 'container: user 1000, no capabilities, no new privileges' locked_up
read_only() { ! inside touch /opt/pgproof/x && ! inside touch /etc/x; }
check 'container: the root file system is read-only' read_only

sql --dbname=app --command="create table item as select n, md5(n::text) as text from generate_series(1, 20000) n" >/dev/null
check 'pgproof check: everything is in place' cli check
check 'backup' cli backup main/app
check 'backup of roles' cli backup --roles
check 'drill: passed' cli drill main/app --pick latest
# What the report says was not shut off from what the dump brings along.
not_isolated() { node -p "JSON.parse(require('node:fs').readFileSync(0)).drill.environment.notIsolated.join(' ') || 'nothing'"; }
report=$(cli drill main/app --pick latest --json 2>/dev/null | not_isolated)
check "drill with deploy/seccomp/pgproof.json: not shut off is $report" test "$report" = nothing
check 'pgproof check: says that it is shut off' grep -q 'shut off from this machine' <<<"$(cli check 2>&1)"
# The same container with Docker's own profile.
plain() {
  docker run --rm --volumes-from "$(compose ps --quiet pgproof)" --network pgproof-try_data --read-only --cap-drop ALL \
    --security-opt no-new-privileges --tmpfs /tmp --env PGPROOF_CONFIG=/etc/pgproof/pgproof.yaml \
    --env "PGPROOF_STORE__PROVIDER=${S3_PROVIDER:-minio}" pgproof "$@"
}
report=$(plain drill main/app --pick latest --json 2>/dev/null | not_isolated)
check "drill with Docker's own profile: passes all the same, not shut off are $report" test -n "$report" -a "$report" != nothing
# From another container, as Prometheus does.
fetch() { # URL [OPTIONS]
  docker run --rm --network pgproof-try_monitoring --entrypoint node pgproof -e \
    "fetch('$1', ${2:-null} ?? {}).then(async (r) => { console.log(r.status); console.log(await r.text()) })"
}
ask() { fetch "http://pgproof:9432$1" "${2:-null}"; }
value() { sed -n "s/^$1{[^}]*database=\"app\"[^}]*} //p" <<<"$(ask /metrics)" | head -1; }
status() { sed -n 1p <<<"$(ask "$@")"; }
token=$(<compose/secrets/token)
bearer="headers: { authorization: 'Bearer $token' }"
check 'http: /healthz and /readyz answer 200' test "$(status /healthz)$(status /readyz)" = 200200
check 'http: /v1/status is refused without a token' test "$(status /v1/status)" = 401
check 'http: /v1/status with the token' test "$(status /v1/status "{ $bearer }")" = 200
# What a command stored is seen at the next look of the daemon.
compose restart pgproof >/dev/null 2>&1
until_true 180 inside node healthcheck.mjs
success=$(value pgproof_backup_last_success_timestamp_seconds)
passed=$(value pgproof_drill_last_passed_timestamp_seconds)
check 'metrics after a restart: the backup and the drill are known' test -n "$success" -a -n "$passed"
compose rm --stop --force pgproof >/dev/null 2>&1
docker volume rm pgproof-try_spool >/dev/null
up >/dev/null 2>&1
check 'metrics after the loss of container and spool: the same' test "$(value pgproof_backup_last_success_timestamp_seconds)$(value pgproof_drill_last_passed_timestamp_seconds)" = "$success$passed"
order() { # drills|backups DATABASE
  ask "/v1/$1" "{ method: 'POST', headers: { authorization: 'Bearer $token', 'content-type': 'application/json' }, body: '{\"server\":\"main\",\"database\":\"$2\"}' }"
}
check 'http: a drill is ordered' test "$(sed -n 1p <<<"$(order drills app)")" = 202
newer_drill() { [[ $(value pgproof_drill_last_passed_timestamp_seconds) > $passed ]]; }
check 'http: it passed' until_true 90 newer_drill

if has prometheus; then
  scraped() { grep -q '"job":"pgproof".*"health":"up"' <<<"$(fetch 'http://prometheus:9090/api/v1/targets')"; }
  check 'prometheus: scrapes pgproof' until_true 90 scraped
  rules() { grep -q '"type":"alerting"' <<<"$(fetch 'http://prometheus:9090/api/v1/rules?type=alert')"; }
  check 'prometheus: has the alerts' until_true 30 rules
fi
if has grafana; then
  grafana() {
    grep -q '"type":"dash-db"' <<<"$(compose exec --no-TTY grafana sh -c \
      'wget -qO- "http://admin:$(cat /run/secrets/admin_password)@127.0.0.1:3000/api/search?type=dash-db"')"
  }
  check 'grafana: has the dashboards' until_true 60 grafana
fi

# SIGTERM in the middle of a dump, to the daemon and to a single backup.
sql --command='create database big' >/dev/null
sql --dbname=big --command="create table big as select n, md5(n::text) || md5((n * 7)::text) as text from generate_series(1, 6000000) n" >/dev/null
dumps() { [[ $(sql --command="select count(*) from pg_stat_activity where datname = 'big' and backend_type = 'client backend' and query like 'COPY%'") -ge 1 ]]; }
no_sessions() { [[ $(sql --command="select count(*) from pg_stat_activity where datname = 'big' and backend_type = 'client backend'") = 0 ]]; }
# The daemon finds what is new at its next look, or when it is told to look.
compose kill --signal HUP pgproof >/dev/null 2>&1
ordered() { [[ $(sed -n 1p <<<"$(order backups big)") = 202 ]]; }
check 'http: a database made since is known after a SIGHUP' until_true 30 ordered
check 'a long dump runs' until_true 60 dumps
started=$SECONDS
container=$(compose ps --quiet pgproof)
compose stop pgproof >/dev/null 2>&1
took=$((SECONDS - started))
state=$(docker inspect --format '{{.State.ExitCode}}{{.State.OOMKilled}}' "$container")
check "SIGTERM during a dump: ended in $took s (grace 25 s), exit code and OOM: $state" test "$took" -le 35 -a "$state" = 0false
check 'SIGTERM during a dump: no session of pg_dump is left' until_true 10 no_sessions
up >/dev/null 2>&1
whole() {
  local listed
  listed=$(cli list)
  ! grep -q main/big <<<"$listed" && grep -q main/app <<<"$listed"
}
check 'SIGTERM during a dump: no half backup, the others are there' whole
tidy() { grep -q '^pgproof_orphan_objects.* 0$' <<<"$(ask /metrics)"; }
check 'SIGTERM during a dump: no object is left that belongs to no backup' tidy
single=$(compose run --detach --no-deps pgproof backup main/big)
check 'a long single backup runs' until_true 60 dumps
docker stop --time 40 "$single" >/dev/null
state=$(docker inspect --format '{{.State.ExitCode}}' "$single")
check "SIGTERM to a single backup: exit code $state" test "$state" = 130
check 'SIGTERM to a single backup: no session is left' until_true 10 no_sessions
check 'SIGTERM to a single backup: no half backup' whole
docker rm --force "$single" >/dev/null

# SIGKILL in the middle of a drill: the next start clears up.
order drills app >/dev/null
drills() { inside sh -c 'ls -d /var/lib/pgproof/spool/*/data'; }
if until_true 30 drills; then
  docker kill "$(compose ps --quiet pgproof)" >/dev/null
  compose start pgproof >/dev/null 2>&1
  swept() { inside sh -c 'test -z "$(find /var/lib/pgproof/spool -mindepth 2 -name data)"'; }
  check 'SIGKILL during a drill: the next start removes what it left' until_true 60 swept
else
  fail 'SIGKILL during a drill: no drill was seen running'
fi

cd "$root"
if command -v kubectl >/dev/null; then
  for folder in deploy/kubernetes/*/; do check "kubectl kustomize $folder" kubectl kustomize "$folder"; done
else
  not_run 'kubectl kustomize: no kubectl'
fi
if ((failed > 0)); then echo "$failed failed"; exit 1; fi
echo 'nothing failed'
