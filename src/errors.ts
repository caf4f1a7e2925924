/**
 * The register of errors: every failure that pgproof can name, with the exit code of the CLI, the status of the HTTP
 * API, whether trying again can help, what is said, and what to do next. Code throws from this table only.
 *
 * Exit codes: 0 done · 1 fault in pgproof · 2 usage or configuration · 3 the job ran and its answer is bad ·
 * 10 locked by another run · 11 store · 12 database · 13 keys · 14 inconclusive · 130 cancelled.
 */
export type RegisterEntry = {
  readonly exit: number
  readonly http: number
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean
  /** Lower case, no full stop; `{name}` is replaced by the value given. */
  readonly message: string
  /** What the operator does next, as a sentence. */
  readonly hint: string
}

const entry = (exit: number, http: number, retryable: boolean, message: string, hint: string): RegisterEntry => ({
  exit,
  http,
  retryable,
  message,
  hint,
})

export const register = {
  // A fault in the program itself.
  INTERNAL: entry(
    1,
    500,
    false,
    'unexpected fault: {reason}',
    'This is a bug in pgproof; report it with the log around this line.',
  ),

  // Usage and configuration.
  USAGE_INVALID: entry(2, 400, false, '{reason}', 'Run `pgproof --help` or `pgproof <command> --help`.'),
  CONFIG_INVALID: entry(
    2,
    500,
    false,
    'the configuration has {count}',
    'Each fault is listed with its place; docs/configuration.md describes every key.',
  ),
  CONFIG_MISSING: entry(
    2,
    500,
    false,
    'there is no configuration: no --config, no PGPROOF_CONFIG and no PGPROOF_… variable{seen}',
    'Give one; for list, show, verify, status, restore and gate --store (and --key) is enough.',
  ),
  CONFIG_UNREADABLE: entry(
    2,
    500,
    false,
    'cannot read the configuration file {path}: {reason}',
    'Give the file by --config or PGPROOF_CONFIG, or configure by PGPROOF_… variables alone.',
  ),
  SERVER_UNKNOWN: entry(2, 404, false, 'no server named "{server}" is known', 'Known servers: {known}.'),
  DATABASE_NOT_CONFIGURED: entry(
    2,
    404,
    false,
    'database "{database}" of server "{server}" is not configured for backup',
    'Add it to `databases` of that server, or check the spelling.',
  ),
  DATABASE_NOT_FOUND: entry(
    2,
    404,
    false,
    'server "{server}" had no database "{database}" when it was last asked',
    'Check the spelling; a new database is found within `daemon.catalogRefresh`, or at once by a SIGHUP.',
  ),
  LABEL_UNKNOWN: entry(
    2,
    404,
    false,
    'no backup or drill labelled "{label}" in the store',
    'Run `pgproof list` to see the labels.',
  ),
  BACKUP_PRUNED: entry(
    2,
    404,
    false,
    'backup {label} is no longer in the store: a prune removed it at {at}',
    '`pgproof list` shows what is there; `retention` decides what is kept, and `pgproof prune --dry-run` says why.',
  ),
  NO_BACKUP: entry(3, 409, false, 'there is no backup of {what} in the store yet', 'Run `pgproof backup` first.'),
  NO_BACKUP_OF: entry(3, 409, false, 'the store holds no backup of {what}', '{known}.'),
  NO_BACKUP_BEFORE: entry(
    3,
    409,
    false,
    'no backup of {what} was taken at {at} or before; the oldest is of {oldest}',
    'Run `pgproof list` to see them all.',
  ),

  // HTTP requests.
  REQUEST_INVALID: entry(2, 400, false, '{reason}', 'GET /openapi.json describes every request.'),
  UNAUTHORIZED: entry(
    2,
    401,
    false,
    'a valid bearer token is required',
    'Send `Authorization: Bearer …` with a token from `http.tokens`; a browser that reads sends it as the password of any name.',
  ),
  FORBIDDEN: entry(2, 403, false, 'the token lacks the scope "{scope}"', 'Use a token whose scope allows this.'),
  CROSS_SITE_REFUSED: entry(
    2,
    403,
    false,
    'a page of another site made this request',
    'Order from the page of this daemon, or with `Authorization: Bearer …` from a program.',
  ),
  ROUTE_UNKNOWN: entry(2, 404, false, 'no such route', 'GET /openapi.json lists the routes.'),
  METHOD_NOT_ALLOWED: entry(2, 405, false, 'this route does not take {method}', 'It takes {allowed}.'),
  REQUEST_TIMEOUT: entry(2, 408, true, 'the request took too long to arrive', 'Send it again.'),
  BODY_TOO_LARGE: entry(2, 413, false, 'the body is larger than {limit} bytes', 'No request needs so many.'),
  MEDIA_TYPE_UNSUPPORTED: entry(2, 415, false, 'the body is not JSON', 'Send `Content-Type: application/json`.'),
  IDEMPOTENCY_CONFLICT: entry(
    2,
    422,
    false,
    'this `Idempotency-Key` was sent before with another request',
    'Use a new key for a new order, and the old one only to repeat the same.',
  ),
  IDEMPOTENCY_EXPIRED: entry(
    2,
    409,
    false,
    'this `Idempotency-Key` was used for an order {age} ago and has expired',
    'Look at the runs for what became of that order, and send a new one with a new key.',
  ),
  RATE_LIMITED: entry(2, 429, true, '{reason}', 'Try again after the time in `Retry-After`.'),
  NOT_READY: entry(
    10,
    503,
    true,
    'the daemon is not ready: {reason}',
    'It becomes ready by itself as soon as {awaited}.',
  ),
  LISTEN_FAILED: entry(
    2,
    500,
    false,
    'cannot listen on {address}: {reason}',
    'Set `http.listen` to an address of this machine and a free port.',
  ),
  TLS_INVALID: entry(
    2,
    500,
    false,
    'cannot serve HTTPS with {path}: {reason}',
    'Give `http.tls` a certificate and its private key, both PEM, the key without passphrase.',
  ),
  RUN_UNKNOWN: entry(
    2,
    404,
    false,
    'no run "{id}" is known',
    'A daemon knows its runs since it started, a fleet also those of the last two days; backups and drills are in the store.',
  ),
  RUN_LOST: entry(
    14,
    502,
    true,
    'the daemon was restarted while {what} went on; what became of it is not known',
    'Look with `pgproof list`, for a drill `pgproof list --drills`, or `pgproof runs --url {url}`, and order it again.',
  ),
  PAUSE_UNKNOWN: entry(
    2,
    404,
    false,
    'no pause "{label}" is in force',
    'It has ended already; `pgproof status` and GET /v1/pauses show those in force.',
  ),
  RUN_FINISHED: entry(2, 409, false, 'run "{id}" has already finished', 'Nothing is left to cancel.'),
  SHUTTING_DOWN: entry(
    10,
    503,
    true,
    'the daemon is shutting down and starts nothing new',
    'Try again when it is back.',
  ),

  // Notices.
  NOTICE_FAILED: entry(
    11,
    502,
    true,
    'the notice by {target} could not be delivered: {reason}',
    'Check the entry of `notify`, and that this machine can reach it; `pgproof check --notify` tries again.',
  ),

  // Locks.
  LOCKED: entry(
    10,
    409,
    true,
    '{what} is locked by another run',
    'Wait for the other run to finish; a daemon shows its runs on its page and at GET /v1/runs. A session that holds the lock is named in the details.',
  ),

  // Fleet.
  FLEET_UNREACHABLE: entry(
    10,
    503,
    true,
    'the control database cannot be used: {reason}',
    'Running jobs finish; nothing is taken or ordered until it answers, and what falls due meanwhile is caught up.',
  ),
  FLEET_NAME_TAKEN: entry(
    2,
    503,
    true,
    'another process of this fleet calls itself "{name}", too, and began later',
    'Give each worker a `fleet.worker` of its own; until then this one takes nothing, and finishes what it has begun.',
  ),
  FLEET_RIGHTS_MISSING: entry(
    12,
    502,
    false,
    'role "{role}" of the control database may not {what}',
    '{mend} Then run `pgproof check` again.',
  ),
  FLEET_WORKER_MISSING: entry(
    14,
    503,
    true,
    'no living worker takes the queue {queue}: {what}',
    'Start one whose `fleet.may` and `fleet.labels` say that it does, or mend `label` of the server; until then it waits.',
  ),
  FLEET_ENTRY_INVALID: entry(
    1,
    500,
    false,
    'entry {id} of queue {queue} cannot be read: {reason}',
    'It was set aside. Something else writes to the tables of pg-boss in the schema `fleet.schema`.',
  ),
  FLEET_ENTRY_NEWER: entry(
    2,
    500,
    false,
    'entry {id} of queue {queue} has format {format}, and this version of pgproof knows {known}',
    'Update this worker; others take the entry meanwhile.',
  ),
  FLEET_STORE_DIFFERS: entry(
    2,
    500,
    false,
    'an entry of queue {queue} is for the store {found}, and this worker has {expected}',
    'Workers of one fleet have the same stores; give each fleet its own `fleet.schema`.',
  ),
  FLEET_CONFIG_DIFFERS: entry(
    2,
    500,
    false,
    'worker {by} knows server "{server}" otherwise than this one',
    'Give both the same configuration of that server, then restart or SIGHUP; until then this worker leaves it alone.',
  ),
  FLEET_RETENTION_DIFFERS: entry(
    3,
    409,
    true,
    '{what}: the workers {one} and {other} disagree on what a prune keeps',
    'Give both the same `timezone`, retention, `stores[].versions`, `objectives.rpo`, `backupDeadline`, `prune` and `drill.keepReports`, then restart or SIGHUP; until then nobody prunes it, and backups go on.',
  ),
  FLEET_QUEUE_LOST: entry(
    14,
    503,
    true,
    '{what} is not in the queue any more',
    'The control database was lost or made anew. What is due is ordered again; what a person ordered must be again.',
  ),
  FLEET_JOB_LOST: entry(
    14,
    500,
    true,
    '{what} was lost with its worker {times} times',
    'Look into the log of those workers: what ended them (memory?) ends the next one, too. The next due time tries again.',
  ),
  FLEET_CLOCK_DIFFERS: entry(
    14,
    500,
    true,
    'this clock is {seconds} s {direction} that of the control database',
    'Have NTP set both clocks; until then this worker orders nothing that is due.',
  ),

  // Store.
  STORE_UNREACHABLE: entry(
    11,
    502,
    true,
    'cannot reach the store {store}: {reason}',
    'Check the endpoint (`store.endpoint` or --endpoint), the network and the TLS certificate; for a directory, its mount.',
  ),
  STORE_DENIED: entry(
    11,
    502,
    false,
    'the store refused {operation}: {reason}',
    '{advice} docs/rights.md has what each job needs.',
  ),
  STORE_CREDENTIALS_MISSING: entry(
    11,
    502,
    false,
    'there are no credentials for the store {store}: {reason}',
    'Set `store.accessKeyId` and its secret, or let the AWS default chain find some: AWS_ACCESS_KEY_ID, AWS_PROFILE, a web identity, a container’s or an instance’s role; docs/stores.md has an example of each.',
  ),
  STORE_BUCKET_MISSING: entry(
    11,
    502,
    false,
    'bucket or directory {bucket} does not exist',
    'If it is new: create the bucket, or let `pgproof init` make the directory. Else mount it, or correct `store.url` or --store.',
  ),
  STORE_UNMARKED: entry(
    11,
    404,
    false,
    'there is no store of pgproof at {store}: it holds no {key}',
    '{advice} A store is named exactly as `store.url` has it where the backups are made.',
  ),
  STORE_FOREIGN: entry(
    11,
    409,
    false,
    'store "{name}" at {url} is of another installation: its id is {found}, not {expected}',
    'All stores of one list hold the same backups and have one id. Give this one a prefix or a directory of its own.',
  ),
  STORE_LOCKED: entry(
    11,
    409,
    false,
    'the store keeps {key} under Object Lock{until}',
    'That is what the lock is for; a prune after that time removes it.',
  ),
  STORE_LOCK_MISSING: entry(
    11,
    409,
    false,
    'the bucket {bucket} has no Object Lock, which `store.objectLock` asks for: {reason}',
    'Take a bucket that was made with Object Lock (AWS can turn it on later as well), or remove `store.objectLock`.',
  ),
  STORE_READ_ONLY: entry(
    11,
    507,
    false,
    'the store takes nothing: {reason}',
    'Look whether the file system or the bucket was made read-only, and why.',
  ),
  STORE_FULL: entry(
    11,
    507,
    false,
    'the store has no space left while writing {key}',
    'Free space, or let `pgproof prune` remove what the policy no longer keeps.',
  ),
  STORE_TOO_LARGE: entry(
    11,
    507,
    false,
    'the object is too large for the store: {reason}',
    'Set `store.provider` if the store is one of the known ones (`generic` counts on 1,000 parts); raise `store.partSize` if the parts were used up; else use a store with larger limits.',
  ),
  STORE_FAILED: entry(
    11,
    502,
    true,
    'the store failed at {operation}: {reason}',
    'Try again; if it persists, look at the store’s own log.',
  ),
  MANIFESTS_DIFFER: entry(
    11,
    409,
    false,
    'the stores hold different manifests of backup {label}: {reason}',
    'Somebody other than pgproof wrote one of them. `pgproof verify` looks at each copy, `--from STORE` takes one of them; docs/stores.md has how to clear it up.',
  ),
  STORE_UNCERTAIN: entry(
    11,
    502,
    true,
    'whether {key} was stored is not known: {reason}',
    'It is there as a whole or not at all. Look with `pgproof list` when the store answers again; `pgproof prune` removes what no backup counts as its own.',
  ),
  STORE_NOT_FOUND: entry(
    11,
    502,
    false,
    'object {key} is not in the store',
    'Somebody removed it; `pgproof verify` shows what is left of the backup.',
  ),
  STORE_EXISTS: entry(
    11,
    409,
    false,
    'object {key} already exists',
    'Another writer uses the same prefix; give each installation its own.',
  ),
  STORE_FORMAT_NEWER: entry(
    11,
    502,
    false,
    '{what} has format {found}, this pgproof reads up to {known}',
    'Upgrade pgproof.',
  ),
  STORE_FORMAT_INVALID: entry(
    11,
    502,
    false,
    '{what} is not what pgproof writes: {reason}',
    'Somebody changed it, or the prefix holds something else.',
  ),
  STORE_CHECK_FAILED: entry(11, 502, false, '{what} fails: {reason}', '{mend} Then run `pgproof check` again.'),
  STORE_UNPROTECTED: entry(
    11,
    409,
    false,
    '`appendOnly` is set, and the credentials for writing can {what}',
    '{mend} Then run `pgproof check` again.',
  ),
  OBJECT_MISMATCH: entry(
    11,
    502,
    false,
    'object {key} differs from its manifest: {reason}',
    'The stored object was damaged or replaced; restore from another backup and look at the store.',
  ),
  REPORT_UNTRUSTED: entry(
    3,
    502,
    false,
    '{key} proves nothing: {reason}',
    'Drills must run where `encryption.signingKeyFile` is a key of `encryption.trustedSigners`; anything else may be a stranger’s.',
  ),
  HISTORY_BROKEN: entry(
    3,
    502,
    false,
    'the history around {label} does not hold: {reason}',
    'Somebody other than pgproof replaced a backup; `pgproof list --history` shows every such place.',
  ),

  // PostgreSQL.
  SERVER_UNREACHABLE: entry(
    12,
    502,
    true,
    'cannot connect to server "{server}": {reason}',
    'Check host, port, pg_hba.conf and whether PostgreSQL runs.',
  ),
  AUTHENTICATION_FAILED: entry(
    12,
    502,
    false,
    'server "{server}" refused the login: {reason}',
    'Check the user and the password (`passwordFile`, PGPASSWORD, ~/.pgpass or the URL, the first that there is).',
  ),
  DATABASE_UNKNOWN: entry(
    12,
    404,
    false,
    'database "{database}" does not exist on server "{server}"',
    'Check the spelling; `databases: all` takes whatever exists.',
  ),
  SERVER_TOO_OLD: entry(
    12,
    502,
    false,
    'server "{server}" runs PostgreSQL {version}; pgproof supports {oldest} and newer',
    'Upgrade the server; older majors get no fixes from PostgreSQL either.',
  ),
  PROGRAM_MISSING: entry(
    12,
    502,
    false,
    'no {program} of PostgreSQL {major} found',
    'Install it (Debian: apt-get install {package}), or set `postgres.binDirs`.',
  ),
  PRIVILEGE_MISSING: entry(
    12,
    502,
    false,
    'role "{role}" may not read everything in "{database}": {objects}',
    'GRANT pg_read_all_data TO the role, BYPASSRLS where row security is on, and SELECT ON LARGE OBJECT where there are any.',
  ),
  NAME_INVALID: entry(
    12,
    502,
    false,
    'the name of a {kind} in "{database}", or a text that belongs to one, is not UTF-8: {reason}',
    'Rename it, or write its comment, default or source in UTF-8: a database in SQL_ASCII takes whatever bytes it is given, and no evidence can say these. Rows may hold any.',
  ),
  POOLER_DETECTED: entry(
    12,
    502,
    false,
    'server "{server}" answers through a transaction pooler',
    'Give pgproof a direct connection; a dump needs one backend of its own from start to end.',
  ),
  SNAPSHOT_FAILED: entry(
    12,
    502,
    true,
    'cannot hold a snapshot of "{database}": {reason}',
    'Look for long ALTERs and locks on the server, or for why it ended the connection, then try again.',
  ),
  DUMP_FAILED: entry(
    12,
    502,
    true,
    '{program} failed ({outcome})',
    'The last lines of its error output are in the details.',
  ),
  QUERY_FAILED: entry(12, 502, false, 'query failed on "{database}": {reason}', 'Look at the server’s log.'),

  // Keys.
  KEY_UNREADABLE: entry(
    13,
    500,
    false,
    'cannot read the key {path}: {reason}',
    'Give an OpenPGP key, armored or binary, in a file that this user may read. GnuPG writes one by `gpg --export-secret-keys --armor FINGERPRINT > backup.key.asc`.',
  ),
  KEY_UNUSABLE: entry(
    13,
    500,
    false,
    'key {fingerprint} from {path} cannot be used: {reason}',
    'Replace it or extend its validity; `pgproof keygen` makes a new pair.',
  ),
  KEY_NEEDED: entry(
    13,
    500,
    false,
    '{what} needs {key}, which is not given',
    'Give it where drills and restores run, in the configuration or as a flag (--key, --passphrase-file); the backup side does not need it.',
  ),
  PASSPHRASE_WRONG: entry(
    13,
    500,
    false,
    'the passphrase does not open the key {path}',
    'Check `encryption.passphraseFile` or --passphrase-file, or `encryption.signingPassphraseFile` for the signing key; a newline at the end is ignored.',
  ),
  KEY_NO_MATCH: entry(
    13,
    502,
    false,
    'no configured private key opens {what}',
    'It was encrypted to: {recipients}. Give one of these private keys (`encryption.privateKeyFile` or --key).',
  ),
  RECIPIENT_MISSING: entry(
    3,
    502,
    false,
    '{key} is not encrypted to {recipients}, though its manifest says so',
    'Whoever holds only that key could not restore this backup; take a new one, and look who wrote this.',
  ),
  DECRYPTION_FAILED: entry(
    3,
    502,
    false,
    'cannot decrypt {what}: {reason}',
    'The object was damaged or cut short; use another backup.',
  ),
  SIGNATURE_MISSING: entry(
    3,
    502,
    false,
    'the manifest of {what} carries no signature, and `encryption.trustedSigners` demands one',
    'Backups from before signing was set up must be removed or re-taken; otherwise treat it as planted.',
  ),
  SIGNATURE_INVALID: entry(
    3,
    502,
    false,
    'the signature of {what} is not valid: {reason}',
    'Do not restore it: it was changed, or its signer is not in `encryption.trustedSigners`.',
  ),

  // The job ran and its answer is bad.
  DRILL_FAILED: entry(
    3,
    409,
    false,
    'the drill failed: {reason}',
    'See the report with `pgproof show {label}`; do not count on this backup.',
  ),
  FULL_DRILL_FAILED: entry(
    3,
    409,
    false,
    'server "{server}" could not be rebuilt as a whole: {reason}',
    'See the report with `pgproof show {label}`, and that of each database; take what is missing or bad anew, then drill again.',
  ),
  RESTORE_FAILED: entry(
    3,
    502,
    false,
    'pg_restore failed ({outcome})',
    'The last lines of its error output are in the details.',
  ),
  ROLES_FAILED: entry(
    3,
    502,
    false,
    'the roles could not be replayed: {reason}',
    'Look at the statement in the details.',
  ),
  EVIDENCE_MISMATCH: entry(
    3,
    502,
    false,
    '{count} between evidence and restored data: {tables}',
    'The backup does not hold what the database held; take a new one and keep the old for analysis.',
  ),
  VERIFY_FAILED: entry(
    3,
    409,
    false,
    'verification of {label} failed at "{check}": {reason}',
    'Do not count on this backup.',
  ),
  PRUNE_REFUSED: entry(3, 409, false, 'prune refused: {reason}', 'Nothing was removed.'),
  PRUNE_HELD_BACK: entry(
    3,
    409,
    false,
    'prune holds back: {reason}',
    'Nothing was removed from that store. Look at `pgproof prune --dry-run`; if that is what you want, run `pgproof prune --force`.',
  ),
  PRUNE_RULES_CHANGED: entry(
    3,
    409,
    true,
    'the prune stopped: another configuration is in force since it was planned',
    'What had not gone by then stays; the next prune decides by the new rules.',
  ),
  PRUNE_INCOMPLETE: entry(
    3,
    502,
    true,
    'prune could not remove {count}',
    'The next prune tries again; the details name the objects.',
  ),
  SYNC_INCOMPLETE: entry(
    3,
    502,
    true,
    'the sync is not complete: {count}',
    'The next sync tries again; the details say what failed, and why.',
  ),
  CHECK_FAILED: entry(
    3,
    409,
    false,
    '{count} would make {what} fail',
    'Mend what is listed, then run `pgproof check` again.',
  ),
  RUNS_FAILED: entry(3, 409, false, '{count} of {total} did not succeed', 'Each failure is listed with its own hint.'),

  // A restore into a database that somebody needs: the target is as it was.
  TARGET_EXISTS: entry(
    12,
    409,
    false,
    'database "{database}" exists already on {server}',
    'Give another name, or leave out --create to restore in its place.',
  ),
  TARGET_UNKNOWN: entry(
    12,
    404,
    false,
    'there is no database "{database}" on {server}',
    'Let --create make it, or name the empty database that it shall go into.',
  ),
  TARGET_NOT_EMPTY: entry(
    12,
    409,
    false,
    'database "{database}" on {server} is not empty: it holds {contents}',
    'Restore beside it (--create with another name), or in its place with --force: the old one is renamed aside, never dropped.',
  ),
  TARGET_IN_USE: entry(
    12,
    409,
    true,
    'database "{database}" is in use by {sessions}',
    'Stop what uses it, or let --disconnect end those sessions at the moment of the swap; a prepared transaction ends only by COMMIT PREPARED or ROLLBACK PREPARED, in that database.',
  ),
  TARGET_TOO_OLD: entry(
    12,
    409,
    false,
    'the backup comes from PostgreSQL {source} and the target runs {target}: PostgreSQL restores into the same major or a newer one only',
    'Restore into a server of PostgreSQL {source} or newer.',
  ),
  TARGET_LACKS: entry(
    12,
    409,
    false,
    'the target server lacks {what}',
    '{mend} Nothing was changed; restore again when that is done.',
  ),
  TARGET_ROLES_MISSING: entry(
    12,
    409,
    false,
    'the target server lacks {count} that the backup names: {roles}',
    'Let --roles create the missing ones from the roles backup, or create them. --no-owner --no-privileges leaves owners and grants out, but not the roles of policies and user mappings.',
  ),
  TARGET_UNFINISHED: entry(
    10,
    409,
    false,
    'an earlier restore of {label} into "{database}" was interrupted and left database "{name}", in which somebody is at work',
    'End those sessions, then run the same command again: it removes what was left and goes on with what was downloaded.',
  ),
  TARGET_OBSTRUCTED: entry(
    12,
    409,
    false,
    'database "{database}" on {server} stands in the way: it has the name of a half-restored one, but not its mark',
    'A restore that was killed at the very moment it made it may have left it. If there is nothing of yours in it, drop it.',
  ),
  TARGET_FULL: entry(
    12,
    507,
    true,
    'the target server ran out of disk: {reason}',
    'Free space there, then restore again; what was restored so far has been removed.',
  ),
  RESTORED_APART: entry(
    12,
    409,
    false,
    'everything is restored, but {reason}, so it was not put in place',
    'It is kept as database "{name}". {how} The same command again would remove it and begin anew; --discard removes it, too.',
  ),
  RESTORED_DIFFERS: entry(
    3,
    409,
    false,
    'what was restored is not what the backup’s evidence says: {reason}',
    'It was not put in place; it is kept as database "{name}" for you to look at, until the same backup is restored into that place again, or --discard removes it. Restore another backup, or drop it.',
  ),
  TARGET_FAILED: entry(
    12,
    502,
    false,
    'the target server could not be used: {reason}',
    'See the details and the server’s log; the database that was there is as it was, unless this text says otherwise.',
  ),
  TABLE_UNKNOWN: entry(
    2,
    404,
    false,
    'the backup holds no table {table}',
    '{known} Names are written as `schema.table`.',
  ),
  CONFIRMATION_REFUSED: entry(
    2,
    409,
    false,
    'not confirmed: {reason}',
    'Nothing was changed. Scripts give --force instead.',
  ),

  // Gates and guards.
  GATE_CLOSED: entry(
    3,
    409,
    false,
    'the gate is closed: {reason}',
    'Take a backup (`pgproof backup`) or order a drill (`pgproof drill`), then ask again.',
  ),
  DAEMON_UNREACHABLE: entry(
    11,
    502,
    true,
    'cannot ask the daemon at {url}: {reason}',
    'Check the address, `http.listen` there, the network and the TLS certificate (--ca-file or NODE_EXTRA_CA_CERTS names a CA of your own).',
  ),
  DAEMON_UNAUTHORIZED: entry(
    2,
    401,
    false,
    'the daemon at {url} does not know the token, or none was given',
    'Give a token of its `http.tokens` by --token-file or PGPROOF_TOKEN.',
  ),
  DAEMON_FORBIDDEN: entry(
    2,
    403,
    false,
    'the daemon at {url} refuses the token',
    'It needs the scope `{scope}`; a proxy in between may have rules of its own.',
  ),
  DAEMON_REFUSED: entry(
    2,
    409,
    false,
    'the daemon at {url} refuses: {reason}',
    '{hint} Another version of pgproof may run there.',
  ),
  DAEMON_STRANGE: entry(
    2,
    502,
    false,
    '{url} is no pgproof daemon: {reason}',
    'Give the address of `pgproof serve`, such as http://host:9432.',
  ),
  GUARD_IMPOSSIBLE: entry(
    12,
    409,
    false,
    'a restore afterwards would not be possible: {reason}',
    '{mend} Nothing was run and nothing was changed.',
  ),
  GUARD_REFUSED: entry(
    3,
    409,
    false,
    'not restored by itself: {reason}',
    'The database is as the command left it. If what was written since the backup may be lost, restore by hand with the command above.',
  ),

  // The drill could not be carried out; says nothing about the backup.
  FULL_DRILL_INCONCLUSIVE: entry(
    14,
    409,
    true,
    'the full drill of server "{server}" could not be carried out to its end: {reason}',
    'See the report with `pgproof show {label}`, and that of each database; it says nothing about the backups that were not restored.',
  ),
  SPOOL_FULL: entry(
    14,
    507,
    true,
    'the spool {path} has too little space: {reason}',
    'Free space or point `drill.spool` at a larger disk.',
  ),
  SPOOL_UNUSABLE: entry(
    14,
    500,
    false,
    'the spool {path} cannot be used: {reason}',
    'Set `drill.spool` to a directory that pgproof may write to.',
  ),
  SCRATCH_FAILED: entry(
    14,
    502,
    false,
    'the scratch server could not be used: {reason}',
    'See the details; `drill.scratch` chooses embedded or a postgres:// URL.',
  ),
  SCRATCH_IS_SOURCE: entry(
    14,
    409,
    false,
    'the scratch server is the very server that is being backed up',
    'Point `drill.scratch` at another server, or use `embedded`; drills never touch production.',
  ),
  ROLES_MISSING: entry(
    14,
    409,
    false,
    'the restore needs a role that no roles backup holds: {role}',
    'Run `pgproof backup --roles`, then drill again; a restore on a new server would miss this role too.',
  ),
  EXTENSION_MISSING: entry(
    14,
    502,
    false,
    'the server that is restored into lacks the extension {extensions}',
    'Install it there (Debian: {packages}).',
  ),
  LIBRARY_NOT_LOADED: entry(
    14,
    502,
    false,
    'the scratch server must load {library} when it starts: {reason}',
    'Add it to `drill.parameters` as shared_preload_libraries, or to that of the server kept for drills.',
  ),
  LOCALE_MISSING: entry(
    14,
    502,
    false,
    'the scratch server lacks the locale {locale}',
    'Generate the locale there (Debian: apt-get install locales-all).',
  ),
  DEADLINE_EXCEEDED: entry(
    14,
    504,
    true,
    '{what} did not finish within {deadline}',
    'Raise the deadline in the configuration, or find what made it slow.',
  ),
  CANCELLED: entry(130, 409, false, '{what} was cancelled', 'Nothing is left half done; start it again when you like.'),
} as const satisfies Record<string, RegisterEntry>

export type ErrorCode = keyof typeof register

/** A failure from the register. `details` may be long (a child's last stderr lines) and never holds a secret. */
export class PgproofError extends Error {
  readonly code: ErrorCode
  readonly hint: string
  readonly details: string | undefined

  constructor(
    code: ErrorCode,
    values: Readonly<Record<string, string | number>> = {},
    more: { cause?: unknown; details?: string | undefined } = {},
  ) {
    super(fill(register[code].message, values), more.cause === undefined ? {} : { cause: more.cause })
    this.name = 'PgproofError'
    this.code = code
    this.hint = fill(register[code].hint, values).trim()
    this.details = more.details
  }

  get exitCode(): number {
    return register[this.code].exit
  }
  get httpStatus(): number {
    return register[this.code].http
  }
  get isRetryable(): boolean {
    return register[this.code].retryable
  }
}

/** Whatever was thrown, as an error of the register: unknown ones become `INTERNAL`, aborts become `CANCELLED`. */
export function toPgproofError(thrown: unknown, what = 'the run'): PgproofError {
  if (thrown instanceof PgproofError) return thrown
  if (isSuppressedError(thrown)) return toPgproofError(thrown.suppressed, what)
  if (
    thrown instanceof Error &&
    (thrown.name === 'AbortError' || (thrown as NodeJS.ErrnoException).code === 'ABORT_ERR')
  ) {
    if (thrown.cause instanceof PgproofError) return thrown.cause
    return new PgproofError('CANCELLED', { what }, { cause: thrown })
  }
  return new PgproofError(
    'INTERNAL',
    { reason: reasonOf(thrown) },
    { cause: thrown, details: thrown instanceof Error ? thrown.stack : undefined },
  )
}

/** Throws the abort's own register error, or `CANCELLED`, if the signal has fired. */
export function assertNotAborted(signal: AbortSignal, what = 'the run'): void {
  if (!signal.aborted) return
  throw signal.reason instanceof PgproofError
    ? signal.reason
    : new PgproofError('CANCELLED', { what }, { cause: signal.reason })
}

/** Hands on what was thrown unless it is of that class: who deals with one kind of failure leaves every other to its caller. */
export function rethrowUnless<T>(thrown: unknown, kind: abstract new (...args: never[]) => T): asserts thrown is T {
  if (!(thrown instanceof kind)) throw thrown
}

/** The short text of anything thrown, on one line. */
export function reasonOf(thrown: unknown): string {
  if (isSuppressedError(thrown)) return reasonOf(thrown.suppressed)
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return reasonOf(thrown.errors[0])
  const text = thrown instanceof Error ? thrown.message || thrown.name : String(thrown)
  return text.replaceAll(/\s+/g, ' ').trim()
}

/**
 * What a `using` makes of two failures: that of the work, and that of the cleaning up after it, which follows from the
 * first more often than not. By its shape: Node 22 has no such class, only what the compiler puts in its place.
 */
function isSuppressedError(thrown: unknown): thrown is Error & { readonly suppressed: unknown } {
  return thrown instanceof Error && thrown.name === 'SuppressedError' && 'suppressed' in thrown
}

function fill(template: string, values: Readonly<Record<string, string | number>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole))
}
