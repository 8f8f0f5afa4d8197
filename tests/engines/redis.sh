# shellcheck shell=bash
# Redis, for keep.sh: in memory only, with a password.
# shellcheck disable=SC2154 # what keep.sh sets

user_secret=$(secret)

make() {
  local reach
  reach=$(in_reach redis "$SIDEGATE_REDIS_SERVER") || fail "its program cannot be run"
  redis_server=${SIDEGATE_REDIS_SERVER/#"$cache/redis"/"$reach"}
  redis_client=${SIDEGATE_REDIS_CLIENT/#"$cache/redis"/"$reach"}
  redis_libraries=LD_LIBRARY_PATH=${SIDEGATE_REDIS_LIBRARIES//"$cache/redis"/"$reach"}
}

serve() {
  become_user "$redis_libraries" "$redis_server" --bind 127.0.0.1 --port "$1" --dir "$home" --save "" --appendonly no \
    --requirepass "$user_secret" --maxmemory 64mb
}

answers() {
  as_user "$redis_libraries" "REDISCLI_AUTH=$user_secret" "$redis_client" -h 127.0.0.1 -p "$1" ping | grep -qx PONG
}

fill() { :; }

addresses() {
  echo "TEST_REDIS_URL=redis://:$user_secret@127.0.0.1:$1/0"
}
