#!/busybox sh
# shellcheck shell=dash
# /init of the nested host: loads the modules, puts a memory file system over the outer host's read-only root
# and goes on there with guest_loop.sh. Whatever fails here ends init, so the kernel panics and the harness sees it.
set -e
/busybox mkdir -p /bin
/busybox --install -s /bin
export PATH=/bin
# shellcheck source=/dev/null
. /nested.env

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
  insmod "/modules/$module"
done </modules/order

mount -t virtiofs host /host
mount -t tmpfs -o size=75% tmpfs /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work root /root

# The one folder that both hosts see and this one may write.
mount --bind "/host$NESTED_RESULTS" "/root$NESTED_RESULTS"

mkdir -p "/root/lib/modules/$(uname -r)"
mount --bind "/root$NESTED_MODULES" "/root/lib/modules/$(uname -r)"
mount -t tmpfs -o mode=755 tmpfs /root/run
cp /nested.env /root/run/
for folder in proc sys dev; do
  mount --move "/$folder" "/root/$folder"
done
exec switch_root /root /bin/sh "$NESTED_ROOT/tests/nested/guest_loop.sh"
