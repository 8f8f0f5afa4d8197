# shellcheck shell=bash
# PostgreSQL, for keep.sh: a role `sidegate` without a password, its database `test`, which has the extension vector,
# and a superuser with a password that nobody else knows.
# shellcheck disable=SC2034,SC2154 # what keep.sh reads and what it sets

stop=INT # "fast": sessions are ended, what was committed stays
die=QUIT # "immediate", which its children and its shared memory do not survive
admin_secret=$(secret)

make() {
  local folder reach locale=C
  postgres_bin=$SIDEGATE_POSTGRES_BIN
  folder=${postgres_bin#"$cache/"}
  folder=${folder%%/*}
  reach=$(in_reach "$folder" "$postgres_bin/postgres") || fail "its program cannot be run"
  postgres_bin=${postgres_bin/#"$cache/$folder"/"$reach"}
  if locale -a 2>/dev/null | grep -qix 'c\.utf-\?8'; then locale=C.UTF-8; fi
  as_user tee "$home/secret" <<<"$admin_secret" >/dev/null || fail "cannot write the password"
  quietly "initdb failed" as_user "$postgres_bin/initdb" -D "$home/data" -U postgres --no-sync --encoding=UTF8 \
    "--locale=$locale" --auth=scram-sha-256 "--pwfile=$home/secret" --no-instructions
  as_user tee "$home/data/pg_hba.conf" <<'HBA' >/dev/null || fail "cannot write pg_hba.conf"
host all sidegate 127.0.0.1/32 trust
host all all      127.0.0.1/32 scram-sha-256
HBA
}

serve() {
  become_user "$postgres_bin/postgres" -D "$home/data" -p "$1" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c shared_buffers=32MB -c max_connections=40 -c max_wal_size=256MB
}

# ask PORT DATABASE STATEMENT
ask() {
  as_user "PGPASSWORD=$admin_secret" "$postgres_bin/psql" -XqAtw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres \
    -d "$2" -c "$3"
}

answers() { ask "$1" postgres 'select 1'; }

fill() {
  quietly "cannot make the role" ask "$1" postgres 'create role sidegate login'
  quietly "cannot make the database" ask "$1" postgres 'create database test owner sidegate'
  quietly "cannot make the extension" ask "$1" test 'create extension vector'
}

addresses() {
  echo "TEST_POSTGRES_URL=postgres://sidegate@127.0.0.1:$1/test"
  echo "TEST_POSTGRES_SUPERUSER_URL=postgres://postgres:$admin_secret@127.0.0.1:$1/test"
}
