#!/usr/bin/env bash
# Runs a command beside throwaway database engines:
#
#   tests/engines/run.sh [--with redis] [--without postgres|mariadb]… COMMAND…
#
# PostgreSQL with pgvector and MariaDB are found or fetched by tools.sh and started on free ports of 127.0.0.1, in a
# temporary folder, as an ordinary user (nobody, when this is root). COMMAND gets
#
#   TEST_POSTGRES_URL  TEST_POSTGRES_SUPERUSER_URL   the database `test` of the role sidegate, who is no superuser
#   TEST_MYSQL_URL     TEST_MYSQL_ROOT_URL           the database `test`, on which sidegate has all rights
#   TEST_REDIS_URL                                   with --with redis
#   TEST_ENGINES_DIR                                 for restart.sh; has the logs of the engines
#
# and its exit status is passed on. An engine whose TEST_…_URL is set already is not started. Exit status 125: an
# engine cannot be had, which has been said, and COMMAND has not run.
#
# What is guaranteed: the engines end, and their folder goes, when COMMAND ends, when this script gets INT, TERM or HUP
# (COMMAND gets it too), and within a second, or a few while they start, also when this script is killed with -9: each
# engine has a keeper in a process group of its own, which reads a pipe that only this script holds open. Where setpriv is there
# (Linux), the engine is also killed when its keeper is. Not guaranteed: the folder, when the keeper too is killed with
# -9; the engines, when it is where there is no setpriv; COMMAND itself, when this script is killed with -9.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/engines/tools.sh
. "$here/tools.sh"
start_limit=60   # seconds until all engines answer
stop_limit=10    # seconds until all have ended
command_limit=10 # seconds from passing a signal on to COMMAND's end

usage() {
  sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

wanted=" postgres mariadb "
while [ $# -gt 0 ]; do
  case "$1 ${2:-}" in
    "--with redis") wanted+="redis " ;;
    "--without postgres" | "--without mariadb") wanted=${wanted/ $2 / } ;;
    -*) usage ;;
    *) break ;;
  esac
  shift 2
done
[ $# -gt 0 ] || usage
[ -z "${TEST_POSTGRES_URL:-}" ] || wanted=${wanted/ postgres / }
[ -z "${TEST_MYSQL_URL:-}" ] || wanted=${wanted/ mariadb / }
[ -z "${TEST_REDIS_URL:-}" ] || wanted=${wanted/ redis / }
read -ra engines <<<"$wanted"
[ "${#engines[@]}" -gt 0 ] || exec "$@"

for engine in "${engines[@]}"; do
  if ! "${engine}_tools"; then
    echo "FAIL  $engine: it cannot be had" >&2
    exit 125
  fi
done

# Everything that has to be undone, in the order of making it.
TEST_ENGINES_DIR=$(mktemp -d) || exit 125
export TEST_ENGINES_DIR
chmod 711 "$TEST_ENGINES_DIR"
keepers=() child='' target='' caught=''

finish() {
  local status=$? keeper tick
  trap '' INT TERM HUP
  trap - EXIT
  exec 8>&- 9<&-
  for keeper in "${keepers[@]}"; do
    for ((tick = 0; tick < stop_limit * 10; tick++)); do
      kill -0 "$keeper" 2>/dev/null || break
      sleep 0.1
    done
    if kill -0 "$keeper" 2>/dev/null; then kill -KILL "$keeper"; fi
  done
  rm -rf "$TEST_ENGINES_DIR"
  exit "$status"
}

# stopped SIGNAL NUMBER: the command gets it too, in the whole of its process group where it has its own.
stopped() {
  caught=$2
  [ -n "$child" ] || exit $((128 + caught))
  kill -"$1" -- "$target" 2>/dev/null
}
trap finish EXIT
trap 'stopped INT 2' INT
trap 'stopped TERM 15' TERM
trap 'stopped HUP 1' HUP

# Both ends are open before a keeper is there to read, so that it cannot wait for a writer that has died.
mkfifo "$TEST_ENGINES_DIR/pipe" || exit 125
exec 8<>"$TEST_ENGINES_DIR/pipe"
exec 9<"$TEST_ENGINES_DIR/pipe"
rm "$TEST_ENGINES_DIR/pipe"
set -m
for engine in "${engines[@]}"; do
  "$here/keep.sh" "$engine" 8>&- </dev/null >/dev/null 2>&1 &
  keepers+=($!)
done
set +m

# ready ENGINE: waits until it answers.
ready() {
  while [ $SECONDS -lt $start_limit ]; do
    [ ! -e "$TEST_ENGINES_DIR/$1.env" ] || return 0
    [ ! -e "$TEST_ENGINES_DIR/$1.failed" ] || break
    sleep 0.05
  done
  echo "FAIL  $1: $(cat "$TEST_ENGINES_DIR/$1.failed" 2>/dev/null || echo "does not answer within $start_limit s")" >&2
  tail -20 "$TEST_ENGINES_DIR/$1.log" | sed 's/^/      /' >&2
  return 1
}
SECONDS=0
for engine in "${engines[@]}"; do
  ready "$engine" || exit 125
  set -a
  # shellcheck source=/dev/null
  . "$TEST_ENGINES_DIR/$engine.env"
  set +a
done

# On a terminal the command shares our process group, so that it can be talked to; elsewhere it has its own, so that a
# signal reaches all of it.
if [ -t 0 ]; then
  (trap - INT TERM HUP EXIT && exec 8>&- 9<&- && exec "$@") <&0 &
  child=$! target=$child
else
  set -m
  (trap - INT TERM HUP EXIT && exec 8>&- 9<&- && exec "$@") <&0 &
  child=$! target=-$child
  set +m
fi
[ -z "$caught" ] || kill -TERM -- "$target" 2>/dev/null
wait "$child"
status=$?
if [ -n "$caught" ]; then
  for ((tick = 0; tick < command_limit * 10; tick++)); do
    kill -0 "$child" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$child" 2>/dev/null; then kill -KILL -- "$target"; fi
  status=$((128 + caught))
fi
(exit "$status") # which the trap passes on
