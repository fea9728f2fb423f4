#!/usr/bin/env bash
# Runs one command on a machine with real RDMA verbs and no RDMA hardware: Debian's stock kernel
# under QEMU (plain emulation, no KVM needed) with Soft-RoCE devices. The guest's /usr is the
# host's, its repository is this one, both read-only; $SCRATCH is shared for writing.
#
#   vm.sh [options] -- COMMAND...
#     --scratch DIR        folder shared for writing, /scratch in the guest     (a new one in $TMPDIR)
#     --share DIR          another folder of the host, read-only, same path in the guest; repeatable
#     --node 0|1           which of two machines this is: $NODE in the guest                     (0)
#     --wire stream:PATH   Ethernet to the other machine over a Unix socket; start node 0 first
#     --wire udp:P0:P1     the same over UDP ports of the loopback: loses packets under load
#     --mem MB  --cpus N   size of the machine                                            (1536, 2)
#     --timeout SECONDS    power is cut then, status 124                                       (240)
#     --prepare            only fetch the kernel and build the initrd
#
# Without a wire the guest plays two hosts with two rails each, a0 and a1 (10.78.0.1, .2), b0 and b1
# (.11, .12), on a switch; `cable a0 down` and `cable a0 up` pull and plug. With a wire it has rxe0 on
# eth0 with the address 10.77.0.(1 + NODE).
# Exit status: the command's; 125 when the machine did not get that far.
# The kernel and initrd are kept in $MOONTIDE_VM_CACHE, else ~/.cache/moontide/vm.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)
cache=${MOONTIDE_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moontide/vm}
node=0 wire='' mem=1536 cpus=2 timeout=240 scratch='' prepare='' shares=()

while [ $# -gt 0 ]; do
  case $1 in
    --scratch) scratch=$2; shift 2 ;;
    --share) shares+=("$2"); shift 2 ;;
    --node) node=$2; shift 2 ;;
    --wire) wire=$2; shift 2 ;;
    --mem) mem=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --prepare) prepare=1; shift ;;
    --) shift; break ;;
    *) echo "vm.sh: unknown option $1" >&2; exit 2 ;;
  esac
done
[ -n "$prepare" ] || [ $# -gt 0 ] || { echo 'vm.sh: no command after --' >&2; exit 2; }

# Modules by name; what they need is loaded before them. crc32_generic must precede rdma_rxe.
modules='virtio_pci 9p 9pnet_virtio virtio_net virtio_rng crc32_generic ib_uverbs rdma_ucm
  rdma_rxe veth bridge sch_netem'

# The cloud kernel has neither rdma_rxe nor 9p: this is the full one. Without apt's lists, the one
# that is in the cache.
kernel_package() {
  local name
  name=$(apt-cache depends linux-image-amd64 2> /dev/null | awk '/Depends:/ { print $2; exit }')
  [ -n "$name" ] || name=$(cd "$cache" 2> /dev/null && ls -td linux-image-* 2> /dev/null | head -1)
  echo "$name"
}

build_initrd() { # KERNEL-TREE KERNEL-VERSION TARGET
  local root module n=100
  root=$(mktemp -d)
  mkdir -p "$root"/{proc,sys,dev,usr,etc,tmp,run,var,scratch,root,boot,modules}
  ln -s ../run "$root/var/run"
  for n in bin sbin lib lib64; do ln -s "usr/$n" "$root/$n"; done
  cp /bin/busybox "$root/boot/busybox"
  cp "$here/init.sh" "$root/init"
  chmod +x "$root/init"
  for file in passwd group nsswitch.conf services protocols ld.so.cache libibverbs.d alternatives; do
    [ ! -e "/etc/$file" ] || cp -a "/etc/$file" "$root/etc/"
  done
  printf '127.0.0.1 localhost\n10.77.0.1 node0\n10.77.0.2 node1\n' > "$root/etc/hosts"
  depmod -b "$1" "$2"
  n=100
  for module in $modules; do modprobe -d "$1" -S "$2" --show-depends "$module"; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r module; do
      cp "$module" "$root/modules/$n-$(basename "$module")"
      n=$((n + 1))
    done
  (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$3"
  rm -rf "$root"
}

# Leaves $kernel and $initrd. Several machines may start at once: one of them builds.
prepare_images() {
  local package key tree version
  package=$(kernel_package)
  if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
    apt-get update -q > /dev/null
    package=$(kernel_package)
  fi
  if [ -z "$package" ]; then
    echo 'vm.sh: apt does not know linux-image-amd64; apt-get update' >&2
    exit 125
  fi
  key=$(cat "$here/init.sh" "$here/vm.sh" /bin/busybox /etc/ld.so.cache | sha256sum | cut -c1-16)
  kernel=$cache/$package/vmlinuz
  initrd=$cache/$package/initrd-$key
  [ ! -f "$initrd" ] || return 0
  mkdir -p "$cache"
  exec 8> "$cache/lock"
  flock 8
  if [ ! -f "$initrd" ]; then
    tree=$cache/$package/tree
    if [ ! -d "$tree/boot" ]; then
      mkdir -p "$tree"
      (cd "$cache/$package" && apt-get -o APT::Sandbox::User=root download -q "$package" > /dev/null)
      dpkg-deb --fsys-tarfile "$cache/$package/$package"_*.deb |
        tar -x -C "$tree" --wildcards './boot/vmlinuz*' './lib/modules/*/modules.*' \
          '*/kernel/crypto' '*/kernel/lib' '*/kernel/net' '*/kernel/fs/9p' '*/kernel/fs/netfs' \
          '*/kernel/fs/fscache' '*/kernel/fs/configfs' '*/kernel/drivers/virtio' '*/kernel/drivers/net/*.ko' \
          '*/kernel/drivers/infiniband' '*/kernel/drivers/char/hw_random' \
          '*/kernel/arch/x86/crypto'
      rm "$cache/$package/$package"_*.deb
    fi
    version=$(basename "$tree"/lib/modules/*)
    cp "$tree/boot/vmlinuz-$version" "$kernel"
    rm -f "$cache/$package"/initrd-*
    build_initrd "$tree" "$version" "$initrd.new"
    mv "$initrd.new" "$initrd"
  fi
  flock -u 8
}

# The wire as QEMU takes it. MTU 4200 gives RoCE its largest path MTU, 4096.
network() {
  local ports
  case $wire in
    '') return ;;
    stream:*)
      local server=off
      [ "$node" != 0 ] || server=on
      echo "-netdev stream,id=wire,server=$server,addr.type=unix,addr.path=${wire#stream:}" ;;
    udp:*)
      IFS=: read -r -a ports <<< "${wire#udp:}"
      echo "-netdev dgram,id=wire,local.type=inet,local.host=127.0.0.1,local.port=${ports[$node]}"\
",remote.type=inet,remote.host=127.0.0.1,remote.port=${ports[$((1 - node))]}" ;;
    *) echo "vm.sh: unknown wire $wire" >&2; exit 2 ;;
  esac
  echo "-device virtio-net-pci,netdev=wire,mac=52:54:00:77:00:0$((node + 1)),host_mtu=4200,romfile="
}

# The emulated time stamp counter is the host's. On a busy host the guest mismeasures its rate, and
# all its clocks run fast or slow; where the host runs at one rate it is told.
tsc() {
  ! grep -qw hypervisor /proc/cpuinfo || ! grep -qw constant_tsc /proc/cpuinfo ||
    awk '/^cpu MHz/ { printf "tsc_early_khz=%d", $4 * 1000; exit }' /proc/cpuinfo
}

prepare_images
[ -z "$prepare" ] || exit 0
[ -n "$scratch" ] || scratch=$(mktemp -d)
printf '%q ' "$@" > "$scratch/job-$node"

shares=(/usr "$repository" "${shares[@]}")
folders=() mounts=''
for i in "${!shares[@]}"; do
  folders+=(-virtfs "local,path=${shares[$i]},mount_tag=ro$i,security_model=none,readonly=on,multidevs=remap")
  mounts+=" ro$i=${shares[$i]}"
done
folders+=(-virtfs "local,path=$scratch,mount_tag=scratch,security_model=none,multidevs=remap")

read -r -a wires <<< "$(network | tr '\n' ' ')"
console=$scratch/console-$node.log
status=0
timeout -k 5 "$timeout" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu max -M q35 \
  -m "$mem" -smp "$cpus" -display none -no-reboot -nodefaults -serial stdio \
  -kernel "$kernel" -initrd "$initrd" -device virtio-rng-pci \
  -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable $(tsc) random.trust_cpu=on \
node=$node wire=${wire%%:*} cwd=$repository$mounts" \
  "${folders[@]}" "${wires[@]}" < /dev/null 2>&1 | sed -u 's/\r$//' | tee "$console" ||
  status=${PIPESTATUS[0]}
[ "$status" != 124 ] || { echo "vm.sh: power cut after $timeout s" >&2; exit 124; }
status=$(sed -n 's/^vm: status \([0-9]*\)$/\1/p' "$console" | tail -1)
exit "${status:-125}"
