#!/usr/bin/env bash
# Checks what deploy/ has: the manifests against the schemas of Kubernetes, the unit by systemd, the compose file by its own program; the
# last two where they are installed. The configurations inside are checked by tests/it/service.rs. Of the Dockerfile it checks that its
# first build finds all that Cargo.toml names.
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
