#!/usr/bin/env bash
# Runs a command beside an embeddings service with a real model:
#
#   tests/embedder/run.sh COMMAND…
#
# COMMAND gets TEST_EMBEDDER_URL, unless it is set already, and its exit status is passed on. The service listens on a free port of
# 127.0.0.1 and ends with this script, however that ends: it reads a pipe that only this script holds open. Exit status 125: the
# service cannot be had, which has been said, and COMMAND has not run.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/clients/tools.sh
. "$here/../clients/tools.sh"
# shellcheck source=tests/embedder/tools.sh
. "$here/tools.sh"

if [ $# -eq 0 ]; then
  sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
[ -z "${TEST_EMBEDDER_URL:-}" ] || exec "$@"
embedder_tools || exit 125

coproc service { exec "$SIDEGATE_EMBEDDER" "$here/server.py"; }
# Bash forgets the names when the service ends.
input=${service[1]}
if ! read -r -t 60 TEST_EMBEDDER_URL <&"${service[0]}" || [ -z "$TEST_EMBEDDER_URL" ]; then
  echo "FAIL  embedder: the service does not start" >&2
  exit 125
fi
export TEST_EMBEDDER_URL
# The command does not hold the pipe, so that the service ends when this script is killed too.
if [ -t 0 ]; then
  (eval "exec $input>&-" && exec "$@")
else
  (eval "exec $input>&-" && exec "$@") </dev/null
fi
