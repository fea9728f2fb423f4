#!/boot/busybox sh
# First process of the guest: mounts, modules, RoCE devices, then the job of vm.sh, then power off.
b=/boot/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/shm /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t tmpfs tmp /tmp
$b mount -t devpts devpts /dev/pts
fail() {
  echo "vm: $1"
  $b poweroff -f
}
for module in /modules/*.ko; do $b insmod "$module" || fail "$module does not load"; done

option=trans=virtio,version=9p2000.L,msize=524288
for word in $($b cat /proc/cmdline); do
  case $word in
    node=*) NODE=${word#node=} ;;
    wire=*) wire=${word#wire=} ;;
    cwd=*) cwd=${word#cwd=} ;;
    ro*=/*)
      $b mkdir -p "${word#*=}"
      $b mount -t 9p -o "$option,ro,cache=loose" "${word%%=*}" "${word#*=}" ||
        fail "${word#*=} does not mount" ;;
  esac
done
$b mount -t 9p -o "$option,cache=none" scratch /scratch || fail '/scratch does not mount'
export NODE HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/boot
# By path: this shell prefers its own applets.
ip=/usr/sbin/ip
[ -x $ip ] || ip=/usr/bin/ip

# `cable a0 down`, `cable a0 up`: taking a link down drops its routes.
printf '%s\n' '#!/boot/busybox sh' "$ip link set \$1 \$2" '[ $2 = up ] || exit 0' \
  "host=\$($ip -o -4 addr show \$1 | sed 's/.* 10.78.0.\([0-9]*\).*/\1/')" \
  "$ip route replace 10.78.0.0/24 dev \$1 table \$((100 + host))" > /boot/cable
$b chmod +x /boot/cable

# RoCE v2 needs the IPv4 GID: the device comes after the address.
device() { # NETDEV ADDRESS/BITS RDMA-DEVICE
  $ip addr add "$2" dev "$1"
  $ip link set "$1" up
  rdma link add "$3" type rxe netdev "$1" || fail "no $3"
}

# Two rails of one host, a0 and a1 (10.78.0.1, .2), and two of another, b0 and b1 (.11, .12), on a
# switch. All four addresses are local to this kernel, so the local table is asked last, and what
# is sent from an address is told to take its wire.
rails() {
  # Only the device that has an address answers for it, not the switch.
  echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
  $ip rule add pref 100 lookup local
  $ip rule del pref 0
  $ip link add switch mtu 4200 type bridge
  $ip link set switch up
  for rail in a0=1 a1=2 b0=11 b1=12; do
    name=${rail%=*} host=${rail#*=}
    $ip link add "$name" mtu 4200 type veth peer name "p$name" mtu 4200
    $ip link set "p$name" master switch up
    echo 1 > "/proc/sys/net/ipv4/conf/$name/accept_local"
    echo 0 > "/proc/sys/net/ipv4/conf/$name/rp_filter"
    device "$name" "10.78.0.$host/24" "rxe$name"
    # Without its wire it reaches nobody: the local table would find a short cut.
    $ip route add unreachable default table "$((100 + host))" metric 4096
    $ip rule add pref "$host" iif lo from "10.78.0.$host" lookup "$((100 + host))"
    cable "$name" up
  done
}

ulimit -l unlimited
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
$ip link set lo up
if [ -n "$wire" ]; then
  $ip link set eth0 mtu 4200
  device eth0 10.77.0.$((1 + NODE))/24 rxe0
else
  rails
fi
cd "$cwd" || fail "no $cwd"
echo "vm: ready after $($b cut -d' ' -f1 /proc/uptime) s"
/usr/bin/bash "/scratch/job-$NODE"
status=$?
echo "vm: ended after $($b cut -d' ' -f1 /proc/uptime) s"
echo "vm: status $status"
$b sync
$b poweroff -f
