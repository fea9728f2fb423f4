#!/usr/bin/env bash
# All tests, with what they need of Debian's packages installed first where that is allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

# Package, and a command that is there when it is installed.
needed=()
need() {
  command -v "$2" >/dev/null 2>&1 || needed+=("$1")
}
# The same for a file of the package.
need_file() {
  [ -e "$2" ] || needed+=("$1")
}
need procps ps
need chromium chromium
need etcd-server etcd
need g++ g++
need make make
need fio fio
need binutils objdump
need openssl openssl
# Real verbs without hardware: a virtual machine with Soft-RoCE (test/e2e/verbs/vm.sh).
need qemu-system-x86 qemu-system-x86_64
need_file busybox-static /usr/share/doc/busybox-static
need kmod modprobe
need cpio cpio
need iproute2 ip
need_file ibverbs-providers /etc/libibverbs.d/rxe.driver
need_file librdmacm1 /usr/share/doc/librdmacm1
need_file libfabric1 /usr/share/doc/libfabric1
need_file libfabric-dev /usr/include/rdma/fabric.h

if [ ${#needed[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q && apt-get install -yq --no-install-recommends "${needed[@]}"
  else
    echo "some tests need: sudo apt-get install ${needed[*]}" >&2
  fi
fi

npx vitest run "$@"
