# shellcheck shell=bash
# Sourced by tests/run.sh: finds PowerDNS with its SQLite backend on the system, or unpacks Debian's packages in .cache/. Nothing is
# installed, and a second run needs no network.
#
#   powerdns_tools     sets TEST_POWERDNS_SERVER (the program), _MODULES, _SCHEMA, _LIBRARIES, and SIDEGATE_POWERDNS_VERSION
#   powerdns_here      the same, without fetching anything
#
# Non-zero after saying on stderr what is missing. Needs `unpack_debian` and its like of tests/engines/tools.sh.

# shellcheck disable=SC2154 # what engines/tools.sh sets
powerdns_cache=$engines_cache/powerdns

powerdns_here() {
  local server
  if server=$(program pdns_server) && powerdns_is "$server" '' ''; then return; fi
  [ -d "$powerdns_cache" ] && powerdns_is "$powerdns_cache/usr/sbin/pdns_server" "$powerdns_cache" "$(libraries_of "$powerdns_cache")"
}

# powerdns_is SERVER HOME LIBRARIES
powerdns_is() {
  local version schema=$2/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql modules
  modules=$(compgen -G "$2/usr/lib/*/pdns/libgsqlite3backend.so" | head -1)
  [ -f "$schema" ] && [ -n "$modules" ] || return 1
  # It says so with an exit status of its own.
  version=$(LD_LIBRARY_PATH=$3 "$1" --version 2>&1 | sed -n 's/.*PowerDNS Authoritative Server \([0-9][0-9.]*\).*/\1/p' | head -1)
  [ -n "$version" ] || return 1
  export TEST_POWERDNS_SERVER=$1 TEST_POWERDNS_MODULES=${modules%/*} TEST_POWERDNS_SCHEMA=$schema \
    TEST_POWERDNS_LIBRARIES=$3 SIDEGATE_POWERDNS_VERSION=$version
}

powerdns_tools() {
  powerdns_here && return
  unpack_debian powerdns pdns-server pdns-backend-sqlite3 && powerdns_here && return
  echo "PowerDNS is not there (pdns_server with its SQLite backend); install pdns-server and pdns-backend-sqlite3" >&2
  return 1
}
