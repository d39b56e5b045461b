# For the scripts beside it: brings along what is missing on a Debian machine. Sourced, not run.
# shellcheck shell=bash

readonly NODE_MAJOR=20

say() { printf '\n── %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

# Where PostgreSQL's programs are, which is not in PATH.
postgres_bin() {
  local found=(/usr/lib/postgresql/*/bin/initdb)
  [[ -x ${found[-1]} ]] || return 1
  # The newest sorts last, while all versions have two digits.
  dirname "${found[-1]}"
}

# need_cluster PROXY: puts into `missing` what a cluster on this machine is made of and is not there.
need_cluster() {
  # Where Debian keeps balancers, which is not in everybody's PATH.
  export PATH="$PATH:/usr/sbin"
  postgres_bin >/dev/null || missing+=(postgresql)
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v "$1" >/dev/null || missing+=("$1")
}

# install_packages PACKAGE…: from Debian, as root or with sudo.
install_packages() {
  local run=()
  (($#)) || return 0
  say "installing $*"
  command -v apt-get >/dev/null || fail "please install $*: there is no apt-get here"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "please install as root: apt-get install $*"
    run=(sudo)
  fi
  "${run[@]}" apt-get update -q
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
    fail "could not install $*"
}

# Sees to it that `node` is new enough.
find_node() {
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  ((major < NODE_MAJOR)) || return 0
  # Debian 12 has an older one; npm brings a newer one along without touching it.
  say "installing Node $NODE_MAJOR beside $(node --version)"
  npm install --prefix target/node --no-save --no-audit --no-fund "node@$NODE_MAJOR" ||
    fail "could not install Node $NODE_MAJOR"
  export PATH="$PWD/target/node/node_modules/node/bin:$PATH"
}
