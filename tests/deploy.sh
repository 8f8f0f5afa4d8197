#!/usr/bin/env bash
# Checks what deploy/ has: the manifests against the schemas of Kubernetes, the unit by systemd, the compose file by its own program; the
# last two where they are installed. The configurations inside are checked by tests/it/service.rs. Of the Dockerfile it checks that its
# first build finds all that Cargo.toml names; of the compose file, that what it mounts is there, and what the gateway's health check says
# of a server that is well, of one that is not, and of none.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../deploy"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/image"
cp ../Cargo.toml ../Cargo.lock "$folder/image"
# The first command of the Dockerfile, up to its build.
layer=$(sed -n '/^RUN /,/cargo build/p' ../Dockerfile | sed '/cargo build/q' | sed -e 's/^RUN //' -e 's/\\$//' -e 's/cargo build.*/true/')
(cd "$folder/image" && eval "$(tr '\n' ' ' <<<"$layer")" && cargo fetch --quiet --locked)

kubernetes-validate --strict --quiet -k 1.33 kubernetes/*.yaml

if command -v systemd-analyze >/dev/null; then
  # The program need not be installed; and systemd before 253 knows a reload by its command only.
  kind=notify-reload
  [ "$(systemd-analyze --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 253 ] || kind=notify
  sed -e "s|/usr/local/bin/sidegate|$(command -v true)|" -e "s/^Type=.*/Type=$kind/" sidegate.service >"$folder/sidegate.service"
  # It says what it ignores, and succeeds.
  complaints=$(systemd-analyze verify "$folder/sidegate.service" 2>&1 | grep -F sidegate.service || true)
  if [ -n "$complaints" ]; then
    echo "$complaints" >&2
    exit 1
  fi
fi

if docker compose version >/dev/null 2>&1; then
  docker compose --file compose/compose.yaml config --quiet
fi

sed -n 's|.*[" -]\(\./[^:"]*\):/.*|\1|p' compose/compose.yaml >"$folder/mounts"
[ "$(wc -l <"$folder/mounts")" -eq 4 ] || {
  echo "compose.yaml: these mounts were not expected: $(tr '\n' ' ' <"$folder/mounts")" >&2
  exit 1
}
while read -r path; do
  [ -e "compose/$path" ] || {
    echo "compose.yaml mounts $path, which is not there" >&2
    exit 1
  }
done <"$folder/mounts"

# The list is JSON as it stands. What it asks is a server of three lines here, which says in turn that it is well and that it is not.
check=$(sed -n 's/^ *test: \(\["CMD-SHELL".*\)$/\1/p' compose/compose.yaml | python3 -c 'import json, sys; print(json.load(sys.stdin)[1])')
python3 -c '
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for status in ["200 OK", "503 Service Unavailable"]:
    asked, _ = listener.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += asked.recv(4096)
    assert request.startswith(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"), request
    asked.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    asked.close()
' >"$folder/port" &
server=$!
for _ in $(seq 100); do
  [ ! -s "$folder/port" ] || break
  sleep 0.1
done
check=${check/127.0.0.1\/8080/127.0.0.1\/$(cat "$folder/port")}
for wanted in well ill gone; do
  [ "$wanted" != gone ] || wait "$server"
  if timeout 10 sh -c "$check" 2>/dev/null; then found=well; else found=ill; fi
  if [ "${wanted/gone/ill}" != "$found" ]; then
    echo "compose.yaml: the health check finds a gateway $found that is $wanted" >&2
    exit 1
  fi
done
