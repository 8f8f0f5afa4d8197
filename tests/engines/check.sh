#!/usr/bin/env bash
# Whether the engines that tests/engines/run.sh starts are what the tests expect, and end when they should:
#
#   tests/engines/check.sh
#
# For whoever changes these scripts; no other script calls it. Ends with "N passed, M failed".
# shellcheck disable=SC2016 # what is in single quotes is for another shell
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/engines/tools.sh
. "$here/tools.sh"
forget() {
  unset TEST_POSTGRES_URL TEST_POSTGRES_SUPERUSER_URL TEST_MYSQL_URL TEST_MYSQL_ROOT_URL TEST_REDIS_URL TEST_ENGINES_DIR
}
forget
postgres_tools && mariadb_tools && redis_tools || exit 1

passed=0
failed=0
run='' work=$(mktemp -d)
finish() {
  if [ -n "$run" ]; then kill -TERM "$run" && wait "$run"; fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# expect NAME PATTERN COMMAND…: what it prints, errors too, as an extended regular expression for the whole of it.
expect() {
  local name=$1 pattern=$2 said
  shift 2
  said=$("$@" 2>&1)
  if [[ $said =~ ^($pattern)$ ]]; then
    passed=$((passed + 1))
    echo "ok    $name${said:+: $said}"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    printf '      %s\n' "not like $pattern:" "$said"
  fi
}

postgres() { "$SIDEGATE_POSTGRES_BIN/psql" -XqAtw "$1" -c "$2"; }

# mysql URL STATEMENT
mysql() {
  local user password port database
  IFS=/:@ read -r _ _ _ user password _ port database <<<"$1"
  LD_LIBRARY_PATH=$SIDEGATE_MARIADB_LIBRARIES MYSQL_PWD=$password "$SIDEGATE_MARIADB_CLIENT" --no-defaults --batch \
    --skip-column-names --protocol=tcp --host=127.0.0.1 --port="$port" --user="$user" --database="$database" -e "$2"
}

redis() {
  local password port
  IFS=/:@ read -r _ _ _ _ password _ port _ <<<"$1"
  LD_LIBRARY_PATH=$SIDEGATE_REDIS_LIBRARIES REDISCLI_AUTH=$password "$SIDEGATE_REDIS_CLIENT" -h 127.0.0.1 -p "$port" ping
}

# begin: a run whose command waits, and its addresses.
begin() {
  rm -f "$work/env"
  forget
  # Bash would have it ignore INT otherwise.
  (trap - INT && exec "$here/run.sh" --with redis sh -c \
    'echo $$ >"$0.pid" && export -p | grep TEST_ >"$0.part" && mv "$0.part" "$0" && exec sleep 300' "$work/env" </dev/null) &
  run=$!
  while [ ! -e "$work/env" ]; do
    kill -0 "$run" 2>/dev/null || { echo "FAIL  the engines do not start" && exit 1; }
    sleep 0.05
  done
  # shellcheck source=/dev/null
  . "$work/env"
}

# left SECONDS: prints what is there of the run after so long, or before that nothing.
left() {
  local deadline=$((SECONDS + $1))
  while pgrep -f "$TEST_ENGINES_DIR" >/dev/null || [ -e "$TEST_ENGINES_DIR" ]; do
    if [ $SECONDS -gt $deadline ]; then
      pgrep -af "$TEST_ENGINES_DIR"
      ls -d "$TEST_ENGINES_DIR"
      return
    fi
    sleep 0.05
  done
}

# ended SIGNAL: ends the run; its exit status goes to $work/status.
ended() {
  kill -"$1" "$run"
  wait "$run"
  echo $? >"$work/status"
  run=
}

# status COMMAND…
status() {
  "$@" >/dev/null 2>&1
  echo $?
}

begin
expect "PostgreSQL says its version" 'PostgreSQL 1[0-9].*' postgres "$TEST_POSTGRES_URL" 'select version()'
expect "pgvector measures a distance" '2\.828.*' postgres "$TEST_POSTGRES_URL" "select '[1,2]'::vector <-> '[3,4]'::vector"
expect "the role of PostgreSQL is no superuser and owns the database" 'f\|sidegate' postgres "$TEST_POSTGRES_URL" \
  'select rolsuper, pg_get_userbyid(datdba) from pg_roles, pg_database where rolname = current_user and datname = current_database()'
expect "the superuser of PostgreSQL is one" 't' postgres "$TEST_POSTGRES_SUPERUSER_URL" \
  'select rolsuper from pg_roles where rolname = current_user'
expect "the superuser of PostgreSQL needs his password" '.*(no password supplied|password authentication failed).*' \
  env PGPASSFILE=/dev/null "$SIDEGATE_POSTGRES_BIN/psql" -Xw "${TEST_POSTGRES_URL/sidegate/postgres}" -c 'select 1'
expect "MariaDB says its version" '1[0-9]\..*-MariaDB.*' mysql "$TEST_MYSQL_URL" 'select version()'
expect "the user of MariaDB has rights on test only" '.*USAGE ON \*\.\*.*ALL PRIVILEGES ON `test`\.\*[^*]*' \
  mysql "$TEST_MYSQL_URL" 'show grants'
expect "root of MariaDB sees who is connected" '[1-9][0-9]*' mysql "$TEST_MYSQL_ROOT_URL" \
  'select count(*) from information_schema.processlist'
expect "MariaDB stores any character" $'\U1F980' mysql "$TEST_MYSQL_URL" \
  "set names utf8mb4; create table kept (a text); insert into kept values ('"$'\U1F980'"'); select a from kept"
expect "MariaDB knows nobody else" 'mariadb.sys|root|sidegate|[[:space:]]|PUBLIC' mysql "$TEST_MYSQL_ROOT_URL" \
  "select user from mysql.global_priv where user not in ('root', 'sidegate')"
expect "Redis answers" PONG redis "$TEST_REDIS_URL"
postgres "$TEST_POSTGRES_URL" 'create table kept as select 7 as a'
for engine in postgres mariadb redis; do
  expect "$engine restarts" 0 status "$here/restart.sh" "$engine"
done
expect "PostgreSQL has its data after that" 7 postgres "$TEST_POSTGRES_URL" 'select a from kept'
expect "MariaDB has its data after that" $'\U1F980' mysql "$TEST_MYSQL_URL" 'set names utf8mb4; select a from kept'
expect "what does not run cannot be restarted" 1 env TEST_ENGINES_DIR="$work" bash -c '"$0" postgres 2>/dev/null; echo $?' "$here/restart.sh"
ended TERM
expect "TERM ends the run" 143 cat "$work/status"
expect "TERM leaves nothing" '' left 0

begin
ended INT
expect "INT ends the run" 130 cat "$work/status"
expect "INT leaves nothing" '' left 0

begin
ended KILL 2>/dev/null
expect "a killed run leaves no engine" '' left 5
kill -TERM "$(cat "$work/env.pid")"

begin
while read -r keeper; do kill -KILL "$keeper"; done < <(pgrep -P "$run" -f keep.sh)
if command -v setpriv >/dev/null; then
  expect "killed keepers leave no engine" '' bash -c 'sleep 2; pgrep -af "$0"' "$TEST_ENGINES_DIR"
fi
ended TERM
expect "and no folder at the end of the run" '' left 0

forget
expect "the exit status of the command is passed on" 7 status "$here/run.sh" --without mariadb sh -c 'exit 7'
expect "an engine that is there already is not started" 'theirs none' env TEST_POSTGRES_URL=theirs TEST_MYSQL_URL=theirs \
  "$here/run.sh" sh -c 'echo "$TEST_POSTGRES_URL ${TEST_ENGINES_DIR-none}"'
expect "an engine that cannot be had is named" '.*FAIL  postgres: .*125' \
  env TEST_POSTGRES_MAJOR=99 bash -c '"$0" echo run; echo $?' "$here/run.sh"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
