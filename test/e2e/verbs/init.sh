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

# RoCE v2 needs the IPv4 GID: the device comes after the address.
device() { # NETDEV ADDRESS/BITS RDMA-DEVICE
  $ip addr add "$2" dev "$1"
  $ip link set "$1" up
  rdma link add "$3" type rxe netdev "$1" || fail "no $3"
}

# Rail k is a wire between two devices of this one kernel, 10.78.k.1 (ak) and 10.78.k.2 (bk).
# Both addresses are local, so the local table is asked last, and packets between them are
# told to take the wire.
rails() {
  $ip rule add pref 100 lookup local
  $ip rule del pref 0
  for k in 0 1; do
    $ip link add a$k mtu 4200 type veth peer name b$k mtu 4200
    for end in a b; do
      for key in accept_local arp_ignore; do echo 1 > /proc/sys/net/ipv4/conf/$end$k/$key; done
      echo 0 > /proc/sys/net/ipv4/conf/$end$k/rp_filter
    done
    device a$k 10.78.$k.1/24 rxea$k
    device b$k 10.78.$k.2/24 rxeb$k
    $ip rule add pref 1$k iif lo from 10.78.$k.1 to 10.78.$k.2 lookup 10$k
    $ip rule add pref 2$k iif lo from 10.78.$k.2 to 10.78.$k.1 lookup 20$k
    $ip route add 10.78.$k.2/32 dev a$k table 10$k
    $ip route add 10.78.$k.1/32 dev b$k table 20$k
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
