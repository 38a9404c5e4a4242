#!/bin/sh
# shellcheck shell=dash
# PID 1 of the nested host, on the outer host's file system: obeys the harness, one line per command.
#   run NONCE LIMIT_S COMMAND   COMMAND is base64; answers with its output, then "\n\036NONCE STATUS SECONDS\n"
#   shell ROWS COLUMNS          an interactive shell on the console; the machine ends with it
set -e
set -a
# shellcheck source=/dev/null
. /run/nested.env
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
LC_ALL=C.UTF-8
set +a

mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
busybox ip link set lo up
busybox hostname nested
ulimit -n 65536
cd "$NESTED_ROOT"
perl tests/nested/keep_vms.pl </dev/null

for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = control ] && break
done
exec 3<>"/dev/${port##*/}"

# In a process namespace of its own, of which nothing outlives its first process. The output goes through a
# pipe, because the port can be open only once and programs do open /dev/stdout.
run_command() {
  start=$(cut -d ' ' -f 1 /proc/uptime)
  {
    status=0
    timeout --signal=KILL "$2" unshare --fork --pid --kill-child --mount-proc \
      sh -c "$3"'
exit $?' </dev/null 2>&1 3<&- || status=$?
    echo "$status" >/run/status
  } | cat >&3
  printf '\n\036%s %s %s\n' "$1" "$(cat /run/status)" \
    "$(cut -d ' ' -f 1 /proc/uptime | awk -v start="$start" '{ print $1 - start }')" >&3
}

run_shell() {
  exec 3<&-
  stty -F /dev/ttyS0 rows "$1" cols "$2" || true
  printf 'This is the nested host: %s, kernel %s.\nLeave with exit or Ctrl-A X.\n' \
    "$(nproc) CPUs" "$(uname -r)" >/dev/ttyS0
  setsid --ctty --wait env TERM="$NESTED_TERM" PS1='nested:\w# ' bash --norc -i </dev/ttyS0 >/dev/ttyS0 2>&1 || true
}

echo "ready $(uname -r) $(cut -d ' ' -f 1 /proc/uptime)" >&3
while read -r verb first second third <&3; do
  case $verb in
    run) run_command "$first" "$second" "$(echo "$third" | base64 -d)" ;;
    shell)
      run_shell "$first" "$second"
      break
      ;;
    *) echo "unknown command: $verb" >&2 ;;
  esac
done
busybox poweroff -f
