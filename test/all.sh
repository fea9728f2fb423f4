#!/usr/bin/env bash
# All tests, with what they need of Debian's packages installed first where that is allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

# Package, and a command that is there when it is installed.
needed=()
need() {
  command -v "$2" >/dev/null 2>&1 || needed+=("$1")
}
need procps ps
need chromium chromium
need g++ g++
need make make

if [ ${#needed[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q && apt-get install -yq --no-install-recommends "${needed[@]}"
  else
    echo "some tests need: sudo apt-get install ${needed[*]}" >&2
  fi
fi

npx vitest run "$@"
