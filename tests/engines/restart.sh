#!/usr/bin/env bash
# Restarts an engine of the enclosing tests/engines/run.sh on its port, with its data, and returns when it answers:
#
#   tests/engines/restart.sh postgres|mariadb|redis
#
# Everybody's connections to it break. A test that runs beside others starts its own engines instead, with run.sh and
# without the TEST_…_URL it was given.
set -uo pipefail
limit=10 # seconds

engine=${1:-}
case $engine in
  postgres | mariadb | redis) ;;
  *)
    sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
if [ ! -e "${TEST_ENGINES_DIR:-}/$engine.env" ]; then
  echo "there is no $engine that tests/engines/run.sh has started here (TEST_ENGINES_DIR)" >&2
  exit 1
fi

rm -f "$TEST_ENGINES_DIR/$engine.restarted"
: >"$TEST_ENGINES_DIR/$engine.restart"
while [ $SECONDS -lt $limit ]; do
  [ ! -e "$TEST_ENGINES_DIR/$engine.restarted" ] || exit 0
  [ ! -e "$TEST_ENGINES_DIR/$engine.failed" ] || break
  sleep 0.05
done
echo "$engine has not come back: $(cat "$TEST_ENGINES_DIR/$engine.failed" 2>/dev/null || echo "no answer within $limit s")" >&2
tail -20 "$TEST_ENGINES_DIR/$engine.log" >&2
exit 1
