#!/usr/bin/env bash
# Keeps one engine for tests/engines/run.sh, which starts it; not to be called otherwise:
#
#   TEST_ENGINES_DIR=FOLDER tests/engines/keep.sh postgres|mariadb|redis 9<PIPE
#
# Makes a database in FOLDER/NAME, starts the engine on a free port of 127.0.0.1, and writes the addresses to
# FOLDER/NAME.env once it answers, or what went wrong to FOLDER/NAME.failed. Restarts it when FOLDER/NAME.restart
# appears. When the other end of the pipe closes, by whatever end of run.sh, ends the engine and removes its folder.
#
# The engine's own file beside this one says how, in five functions: make, serve PORT, answers PORT, fill PORT and
# addresses PORT; and how it is told to stop (in order) and to die (at once).
set -uo pipefail

name=${1:?} dir=${TEST_ENGINES_DIR:?}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache
home=$dir/$name log=$dir/$name.log
start_limit=50 # seconds until it answers
stop_limit=5   # seconds from asking it to stop until it is killed
ports=20       # how many are tried
pid='' port='' ending='' as=()
stop=TERM die=KILL
umask 022

# Ctrl-C is for the command of the run; the pipe says when the run is over.
trap '' INT HUP
trap 'ending=yes' TERM

# A tenth of a second; fails when the run is over.
pause() {
  read -r -t 0.1 <&9
  [ $? -gt 128 ] && [ -z "$ending" ]
}

# Says so to whoever waits, and waits for the end of the run.
fail() {
  echo "$*" >"$dir/$name.part"
  mv "$dir/$name.part" "$dir/$name.failed"
  while pause; do :; done
  finish
}

# quietly WORDS COMMAND…: fails with these words; the rest is in the log.
quietly() {
  local words=$1
  shift
  "$@" >>"$log" 2>&1 || fail "$words"
}

# A password nobody else on this machine knows, in hexadecimal digits.
secret() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

runs() {
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

# end SIGNAL: ends the engine, and kills it when it takes too long.
end() {
  local tick
  runs || return
  kill -"$1" "$pid"
  for ((tick = 0; tick < stop_limit * 20; tick++)); do
    runs || break
    sleep 0.05
  done
  if runs; then kill -KILL "$pid"; fi
  wait "$pid"
}

# The data are thrown away, so nothing has to be written first.
finish() {
  end "$die"
  # What the engine has started itself may end a moment after it.
  for _ in 1 2 3 4 5; do
    rm -rf "$home" "$dir/$name".* 2>/dev/null && break
    sleep 0.1
  done
  rmdir "$dir" 2>/dev/null # by the last one, when run.sh is not there any more to do it
  exit
}

# The engine belongs to an unprivileged user: us, or when this is root, nobody. It gets nothing of this environment,
# and dies with this process where setpriv can see to it.
become() {
  local user='' drop=()
  if [ "$(id -u)" -eq 0 ]; then
    command -v setpriv >/dev/null || fail "there is no setpriv to start it as another user than root"
    for user in nobody postgres; do
      id -u "$user" >/dev/null 2>&1 && break
    done
    drop=(--reuid "$(id -u "$user")" --regid "$(id -g "$user")" --clear-groups)
    chown "$user" "$home"
  fi
  if setpriv --pdeathsig KILL true 2>/dev/null; then drop+=(--pdeathsig "$die"); fi
  as=(env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C TZ=UTC "HOME=$home")
  if [ "${#drop[@]}" -gt 0 ]; then as=(setpriv "${drop[@]}" "${as[@]}"); fi
  as_user test -w "$home" || fail "$user cannot write to $dir; set TMPDIR to a folder that everybody can reach"
}

# as_user [NAME=VALUE]… COMMAND…, and the same in place of this process.
as_user() { "${as[@]}" "$@"; }
become_user() { exec "${as[@]}" "$@"; }

# in_reach FOLDER PROGRAM: prints where FOLDER of .cache is for that user: there, or when the repository is in
# somebody's home, a copy.
in_reach() {
  local copy=$dir/$name.engine
  if as_user test -x "$2"; then
    echo "$cache/$1"
  elif [[ $2 == "$cache/$1"/* ]]; then
    cp -al "$cache/$1" "$copy" 2>/dev/null || { rm -rf "$copy" && cp -a "$cache/$1" "$copy"; } || return 1
    echo "$copy"
  else
    echo "$2 cannot be run by another user than root" >>"$log"
    return 1
  fi
}

# One attempt on $port; fails when the port is taken.
launch() {
  local tick said
  said=$(wc -l <"$log")
  serve "$port" >>"$log" 2>&1 9<&- </dev/null &
  pid=$!
  for ((tick = 0; tick < start_limit * 10; tick++)); do
    pause || finish
    if answers "$port" >/dev/null 2>&1; then return 0; fi
    runs || break
  done
  if runs; then fail "does not answer within $start_limit s"; fi
  tail -n "+$((said + 1))" "$log" | grep -qi 'already in use' || fail "ended instead of starting"
  return 1
}

start() {
  local attempt
  for ((attempt = 0; attempt < ports; attempt++)); do
    # Below the ports that a system gives to whoever asks for any.
    port=$((20000 + (RANDOM << 15 | RANDOM) % 12000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    launch && return
  done
  fail "found no free port in $ports attempts"
}

# On the same port, with the data it had.
restart() {
  local attempt
  rm -f "$dir/$name.restart"
  end "$stop"
  for ((attempt = 0; attempt < ports; attempt++)); do
    if launch; then
      : >"$dir/$name.restarted"
      return
    fi
    pause || finish
  done
  fail "port $port was taken while it was down"
}

# shellcheck source=tests/engines/postgres.sh
. "$here/$name.sh"
mkdir -p "$home" && chmod 700 "$home" && : >"$log" || exit 1
become
make
pause || finish
start
fill "$port"
addresses "$port" >"$dir/$name.part" && mv "$dir/$name.part" "$dir/$name.env"
while pause; do
  if [ -e "$dir/$name.restart" ]; then restart; fi
done
finish
