# shellcheck shell=bash
# Sourced by the test scripts: brings the official clients and suites into .cache/ at the repository's root, once
# per lock file, and says where they are. A second run needs no network.
#
#   node_tools     sets SIDEGATE_NODE (a Node 22) and SIDEGATE_NODE_MODULES
#   python_tools   sets SIDEGATE_PYTHON (a Python with the MCP SDK)
#   debian NAME…   installs Debian packages, as root or with sudo
#
# Each returns non-zero after saying on stderr what is missing and how to get it.

tools_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools_cache=$(cd "$tools_here/../.." && pwd)/.cache

hash_of() {
  cat "$@" | sha256sum | cut -c1-12
}

debian() {
  if ! command -v apt-get >/dev/null; then
    echo "missing: $* (Debian's names; this system has no apt-get, install them its way)" >&2
    return 1
  fi
  local become=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      become=(sudo)
    else
      echo "missing: $*; install with: sudo apt-get install $*" >&2
      return 1
    fi
  fi
  echo "installing $*" >&2
  "${become[@]}" apt-get update -qq >/dev/null || true # an old list may still do
  if ! "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; then
    echo "could not install: $*; try: sudo apt-get install $*" >&2
    return 1
  fi
}

# Fetches into a folder of its own and moves it into place when it is whole.
node_tools() {
  local home part
  home=$tools_cache/node-$(hash_of "$tools_here/package-lock.json" "$tools_here/package.json")
  if [ ! -d "$home" ]; then
    command -v npm >/dev/null || debian npm || return 1
    part=$home.part-$$
    mkdir -p "$part" && cp "$tools_here"/{package.json,package-lock.json,.npmrc} "$part" || return 1
    echo "fetching the npm packages of tests/clients/package-lock.json" >&2
    if ! (cd "$part" && npm ci) >"$part/npm.log" 2>&1; then
      tail -20 "$part/npm.log" >&2
      rm -rf "$part"
      echo "npm could not fetch the packages of tests/clients/package-lock.json (see above)" >&2
      return 1
    fi
    rm -rf "$home"
    mv "$part" "$home" || return 1
  fi
  SIDEGATE_NODE_MODULES=$home/node_modules
  # Node itself is one of the packages, where there is one for this machine.
  SIDEGATE_NODE=$(find "$SIDEGATE_NODE_MODULES" -maxdepth 3 -path '*/node-*/bin/node' | head -1)
  if [ -z "$SIDEGATE_NODE" ] || ! "$SIDEGATE_NODE" --version >/dev/null 2>&1; then
    SIDEGATE_NODE=$(command -v node || true)
    if ! "$SIDEGATE_NODE" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)' 2>/dev/null; then
      echo "missing: Node 22.19 or newer, for which this machine has no package in tests/clients/package.json" >&2
      return 1
    fi
  fi
  export SIDEGATE_NODE SIDEGATE_NODE_MODULES
}

python_tools() {
  local home part
  if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    debian python3 python3-venv || return 1
  fi
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "missing: Python 3.10 or newer; python3 is $(python3 --version 2>&1)" >&2
    return 1
  fi
  home=$tools_cache/python-$({ cat "$tools_here/requirements.txt" && python3 -VV && command -v python3; } | sha256sum | cut -c1-12)
  if [ ! -d "$home" ]; then
    part=$home.part-$$
    echo "fetching the Python packages of tests/clients/requirements.txt" >&2
    mkdir -p "$tools_cache"
    if ! { rm -rf "$part" && python3 -m venv "$part" &&
      "$part/bin/python" -m pip install --disable-pip-version-check --quiet -r "$tools_here/requirements.txt"; } >"$part.log" 2>&1; then
      tail -20 "$part.log" >&2
      rm -rf "$part" "$part.log"
      echo "pip could not fetch the packages of tests/clients/requirements.txt (see above)" >&2
      return 1
    fi
    rm -f "$part.log"
    mv "$part" "$home" || return 1
  fi
  SIDEGATE_PYTHON=$home/bin/python
  export SIDEGATE_PYTHON
}
