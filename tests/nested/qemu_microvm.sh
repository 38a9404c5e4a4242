#!/bin/sh
# Boots a kernel under QEMU's microvm machine on this machine's KVM to a first program of our own, and says how
# long that took: the reference for our own VMM.   qemu_microvm.sh VMLINUX
set -eu
vmlinux=$1
word="the microVM's init speaks"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir "$folder/root"
cp "$(command -v busybox)" "$folder/root/"
cat >"$folder/root/init" <<INIT
#!/busybox sh
echo "$word"
/busybox reboot -f
INIT
chmod 755 "$folder/root/init"
(cd "$folder/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$folder/initramfs"

# Without a clock chip the kernel waits for its answer, for a second and more: rtc=on.
for round in 1 2; do
  start_ms=$(($(date +%s%N) / 1000000))
  # A guest that reboots by a triple fault ends QEMU.
  timeout --signal=KILL 60 qemu-system-x86_64 -M microvm,rtc=on -accel kvm -cpu host -smp 1 -m 256 \
    -nodefaults -no-user-config -display none -no-reboot -serial stdio \
    -kernel "$vmlinux" -initrd "$folder/initramfs" \
    -append "console=ttyS0 quiet reboot=t panic=-1" </dev/null >"$folder/console" 2>&1 || true
  took_ms=$(($(date +%s%N) / 1000000 - start_ms))
  if ! grep -q "$word" "$folder/console"; then
    echo "round $round: init never spoke in $took_ms ms; the console's end:"
    tail -n 30 "$folder/console"
    exit 1
  fi
  echo "round $round: QEMU's microvm ran from start to end in $took_ms ms"
done
