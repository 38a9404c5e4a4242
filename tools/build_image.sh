#!/usr/bin/env bash
# Builds one default language as an OCI image: the folder build/images/NAME, an OCI image layout with one manifest.
#   tools/build_image.sh NAME          build it, unless it is there and its recipe is unchanged
#   tools/build_image.sh --check NAME  status 0: there is nothing to do, 1: it needs building, 2: no such name
# The folder is built aside and renamed, so that it is whole or not there; a lock makes builders wait in turn.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

images=$root/build/images
suite=bookworm

# Packages of each image, dependencies come by themselves. A trailing minus keeps a dependency out.
base='base-files bash coreutils dash diffutils findutils grep gzip libc-bin mawk sed tar perl-'
declare -A packages=(
  [bash]="$base bc procps util-linux"
  [python]="$base python3 tzdata"
  [node]="$base nodejs"
  [c]="$base gcc libc6-dev"
)

recipe_hash() {
  { echo "$1" && cat "${BASH_SOURCE[0]}" "$root/tools/oci_image.py"; } | sha256sum | cut -d' ' -f1
}

is_current() {
  [[ $(/usr/bin/python3 "$root/tools/oci_image.py" recipe "$images/$1") == "$(recipe_hash "$1")" ]]
}

# Extracts the packages only: no maintainer script runs, which saves most of the time. finish_image does the rest.
# apt's package lists are kept for the next image: apt asks the mirror whether they are still the newest, and reads and
# unpacks them only when they are not.
extract_packages() {
  local name=$1 target=$2 work=$3 lists=$images/.lists
  mkdir "$work/sources"
  /usr/bin/python3 "$root/tools/apt_sources.py" "$suite" "$work/sources"
  # How this machine reaches its sources (proxies, retries, clocks) holds for the image too.
  apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)' >"$work/apt.conf" || true
  mmdebstrap --mode=root --variant=extract --include="${packages[$name]}" \
    --skip=chroot/mount,check/signed-by --aptopt="$work/apt.conf" \
    --setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh \
    --setup-hook="[ ! -d '$lists' ] || flock '$lists.lock' cp -a '$lists/.' \"\$1/var/lib/apt/lists/\"" \
    --extract-hook="cp -a \"\$1/var/lib/apt/lists\" '$work/lists'" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/bash-completion/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --dpkgopt='path-exclude=/lib/systemd/*' --dpkgopt='path-exclude=/usr/share/bug/*' \
    "$suite" "$target" "$work"/sources/* 2>&1
  # shellcheck disable=SC2016 # the inner shell expands them
  flock "$lists.lock" sh -c 'rm -rf "$1" && mv "$2" "$1"' sh "$lists" "$work/lists"
}

write_etc() {
  local etc=$1/etc
  # The builder leaves this machine's name and resolvers behind.
  rm -rf "$etc/apt" "$etc/resolv.conf" "$etc/hostname" "$etc/fstab" "$etc/hosts"
  printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'lambdo:x:1000:1000:lambdo:/workspace:/bin/bash' \
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$etc/passwd"
  printf '%s\n' 'root:x:0:' 'lambdo:x:1000:' 'nogroup:x:65534:' >"$etc/group"
  printf '%s\n' '127.0.0.1 localhost lambdo' '::1 localhost' >"$etc/hosts"
  printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >"$etc/nsswitch.conf"
  echo lambdo >"$etc/hostname"
  : >"$etc/resolv.conf"
  ln -sfn ../usr/share/zoneinfo/Etc/UTC "$etc/localtime"
}

# Without this machine's environment, which names files that the image has not.
in_image() { env -i PATH=/usr/sbin:/usr/bin chroot "$@"; }

# What the maintainer scripts would have done, and the places the sandbox mounts over.
finish_image() {
  local name=$1 target=$2 folder
  rm -rf "${target:?}"/{dev,proc,sys,run,tmp,root,home,boot,media,mnt,srv,opt,workspace,.lambdo}
  rm -rf "${target:?}"/var/{cache,lib,log,backups,mail,spool}/*
  for folder in proc sys dev run tmp root home workspace .lambdo; do mkdir "$target/$folder"; done
  chmod 1777 "$target/tmp"
  : >"$target/.lambdo/agent"
  write_etc "$target"
  ln -sfn dash "$target/usr/bin/sh"
  ln -sfn mawk "$target/usr/bin/awk"
  ln -sfn which.debianutils "$target/usr/bin/which"
  in_image "$target" ldconfig
  case $name in
    # Hashed and unchecked: byte code stays valid when a copy of the image loses the files' times.
    python) in_image "$target" python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11 ;;
    c) ln -sfn gcc "$target/usr/bin/cc" ;;
  esac
  chmod 755 "$target"
}

# One run per image: the cheapest proof that nothing it needs is missing.
check_image() {
  local name=$1 target=$2
  case $name in
    bash) in_image "$target" sh -c 'bash -c "echo ok | awk 1" && setsid true' ;;
    python) in_image "$target" python3 -c 'import ctypes, decimal, json, re, sqlite3, ssl, subprocess, zoneinfo' ;;
    node) in_image "$target" node -e 'require("crypto"); require("zlib"); console.log("ok")' ;;
    c) in_image "$target" sh -c 'echo "int main(void) { return 0; }" | gcc -x c -pthread -o /tmp/a - -lm && /tmp/a && rm /tmp/a' ;;
  esac
}

# One layer: the images share nothing that would be worth another. Times are all the same, so that the digest depends
# on the content alone. zstd, because it is read three times as fast as gzip.
write_image() {
  local name=$1 work=$2 diff_id
  tar --create --sort=name --numeric-owner --mtime=@0 --format=pax --pax-option=delete=atime,delete=ctime \
    --directory="$work/root" . | zstd -q -T0 -6 >"$work/layer"
  diff_id=$(zstd -dc "$work/layer" | sha256sum | cut -d' ' -f1)
  /usr/bin/python3 "$root/tools/oci_image.py" write "$work/image" --layer "$work/layer" \
    --diff-id "$diff_id" --recipe "$(recipe_hash "$name")" --title "lambdo/$name" \
    --env PATH=/usr/local/bin:/usr/bin:/bin --env LANG=C.UTF-8 --user 1000:1000 --working-dir /workspace
}

remove_leftovers() {
  # Of builders that were killed; the lock is ours, so nobody works there.
  find "$images" -maxdepth 1 -name ".$1.*" ! -name ".$1.lock" -exec rm -rf {} +
}

build() {
  local name=$1 work
  mkdir -p "$images"
  exec 9>"$images/.$name.lock"
  flock 9
  is_current "$name" && return
  remove_leftovers "$name"
  work=$(mktemp -d "$images/.$name.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  chmod 755 "$work"
  extract_packages "$name" "$work/root" "$work"
  finish_image "$name" "$work/root"
  check_image "$name" "$work/root"
  write_image "$name" "$work"
  [[ ! -e $images/$name ]] || mv "$images/$name" "$work/old"
  mv "$work/image" "$images/$name"
}

check=
[[ ${1:-} != --check ]] || { check=yes && shift; }
name=${1:-}
if [[ -z $name || -z ${packages[$name]:-} ]]; then
  fail "there is no image named '$name'; there are: ${!packages[*]}"
  exit 2
fi
if [[ -n $check ]]; then
  is_current "$name"
else
  build "$name"
fi
