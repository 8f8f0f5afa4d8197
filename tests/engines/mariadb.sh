# shellcheck shell=bash
# MariaDB, for keep.sh: a user `sidegate` with all rights on the database `test`, and root, both with passwords of the
# plain kind (mysql_native_password), so that neither TLS nor RSA is needed.
# shellcheck disable=SC2154 # what keep.sh sets

admin_secret=$(secret) user_secret=$(secret)

make() {
  local reach part
  reach=$(in_reach mariadb "$SIDEGATE_MARIADB_SERVER") || fail "its program cannot be run"
  mariadb_base=${SIDEGATE_MARIADB_HOME/#"$cache/mariadb"/"$reach"}
  mariadb_server=${SIDEGATE_MARIADB_SERVER/#"$cache/mariadb"/"$reach"}
  mariadb_client=${SIDEGATE_MARIADB_CLIENT/#"$cache/mariadb"/"$reach"}
  mariadb_share=${SIDEGATE_MARIADB_SHARE/#"$cache/mariadb"/"$reach"}
  mariadb_libraries=LD_LIBRARY_PATH=${SIDEGATE_MARIADB_LIBRARIES//"$cache/mariadb"/"$reach"}
  quietly "cannot make its folders" as_user mkdir "$home/data" "$home/tmp"
  # What mariadb-install-db does, less the help texts and the sys schema.
  {
    printf '%s;\n' 'create database mysql' 'use mysql' 'set @auth_root_socket=NULL'
    for part in system_tables performance_tables system_tables_data; do
      cat "$mariadb_share/mariadb_$part.sql" 2>/dev/null || cat "$mariadb_share/mysql_$part.sql" || exit 1
    done
    printf '%s;\n' "delete from global_priv where user in ('root', '')" 'create database test'
  } 2>>"$log" | server --bootstrap >>"$log" 2>&1 || fail "cannot make the system tables"
  as_user tee "$home/users.sql" <<SQL >/dev/null || fail "cannot write the users"
create or replace user root@'%' identified via mysql_native_password using password('$admin_secret');
grant all on *.* to root@'%' with grant option;
create or replace user sidegate@'%' identified via mysql_native_password using password('$user_secret');
grant all on test.* to sidegate@'%';
SQL
}

# In place of this process, where it has one to itself.
server() {
  become_user "$mariadb_libraries" "$mariadb_server" --no-defaults "--basedir=$mariadb_base" "--datadir=$home/data" \
    "--tmpdir=$home/tmp" "--lc-messages-dir=$mariadb_share" "--character-sets-dir=$mariadb_share/charsets" \
    --character-set-server=utf8mb4 --collation-server=utf8mb4_general_ci --skip-name-resolve --max-connections=40 \
    --innodb-buffer-pool-size=32M --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0 --debug-no-sync "$@"
}

# The socket has a relative path, as a long one would be refused.
serve() {
  local first=()
  if [ -e "$home/users.sql" ]; then first=("--init-file=$home/users.sql"); fi
  server --skip-networking=0 --bind-address=127.0.0.1 "--port=$1" --socket=socket "--pid-file=$home/pid" "${first[@]}"
}

answers() {
  as_user "$mariadb_libraries" "MYSQL_PWD=$admin_secret" "$mariadb_client" --no-defaults --protocol=tcp \
    --host=127.0.0.1 "--port=$1" --user=root -e 'select 1'
}

# The first start has made the users; a restart leaves them as they are then.
fill() {
  quietly "cannot remove the list of users" as_user rm "$home/users.sql"
}

addresses() {
  echo "TEST_MYSQL_URL=mysql://sidegate:$user_secret@127.0.0.1:$1/test"
  echo "TEST_MYSQL_ROOT_URL=mysql://root:$admin_secret@127.0.0.1:$1/test"
}
