#!/usr/bin/env bash
# Fetches the distribution's cloud kernel and unpacks it, without installing it, into build/guest-kernel:
#   vmlinuz   as the package ships it (a bzImage)      modules/  the package's lib/modules/VERSION, with modules.dep
#   vmlinux   the ELF kernel inside vmlinuz            VERSION   what uname -r says in a guest
#   tools/guest_kernel.sh          do it, unless it is there already
#   tools/guest_kernel.sh --check  status 0: there is nothing to do, 1: it needs fetching
# The folder is built aside and renamed, so that it is whole or not there. Delete it to take a newer kernel.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$root/tools/kernel_package.sh"

target=$root/build/guest-kernel

recipe_hash() { cat "${BASH_SOURCE[0]}" "$root/tools/kernel_package.sh" | sha256sum | cut -d' ' -f1; }

is_current() { [[ $(cat "$target/.recipe" 2>/dev/null) == "$(recipe_hash)" ]]; }

find_package() {
  local name
  name=$(versioned_kernel)
  if [[ -z $name ]] && ((EUID == 0)); then
    apt-get -o Acquire::Retries=3 update >&2
    name=$(versioned_kernel)
  fi
  [[ -n $name ]] || die "the package sources know no $kernel_package; on Debian as root run apt-get update, then try again"
  echo "$name"
}

# number FILE OFFSET SIZE_BYTES: an unsigned little-endian number of the setup header.
number() { od --address-radix=n --format="u$3" --skip-bytes=$(($2)) --read-bytes="$3" "$1" | tr -d ' '; }

# Offsets and meanings: Documentation/x86/boot.rst, "The Real-Mode Kernel Header" and payload_offset.
extract_vmlinux() {
  local image=$1 vmlinux=$2 setup_sectors start length_bytes size_bytes
  [[ $(dd if="$image" bs=1 skip=$((0x202)) count=4 status=none) == HdrS ]] || die "$image is not a bzImage"
  setup_sectors=$(number "$image" 0x1f1 1)
  ((setup_sectors)) || setup_sectors=4
  start=$(((setup_sectors + 1) * 512 + $(number "$image" 0x248 4)))
  length_bytes=$(number "$image" 0x24c 4)
  [[ $(number "$image" $start 4) == $((0x184c2102)) ]] ||
    die "the payload of $image is not an LZ4 legacy frame, which is what Debian's kernels have"
  # The payload's last four bytes are no part of the frame but say how long the kernel is without compression.
  size_bytes=$(number "$image" $((start + length_bytes - 4)) 4)
  dd if="$image" bs=1M iflag=skip_bytes,count_bytes skip=$start count=$((length_bytes - 4)) status=none |
    lz4 --decompress --stdout --quiet >"$vmlinux"
  [[ $(stat --format=%s "$vmlinux") == "$size_bytes" ]] || die "the kernel in $image does not unpack to $size_bytes bytes"
}

unpack() {
  local work=$1
  unpack_kernel "$work"/*.deb "$work" "$work/new"
  extract_vmlinux "$work/new/vmlinuz" "$work/new/vmlinux"
  recipe_hash >"$work/new/.recipe"
}

if [[ ${1:-} == --check ]]; then
  is_current
  exit
fi

mkdir -p "$root/build"
exec 9>"$root/build/guest-kernel.lock"
flock 9
if ! is_current; then
  rm -rf "$target".work.*
  work=$(mktemp -d "$target.work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  name=$(find_package)
  download "$work" "$name" ||
    die "cannot download $name; if the package lists are old, run apt-get update as root, then try again"
  unpack "$work"
  chmod 755 "$work/new"
  rm -rf "$target"
  mv "$work/new" "$target"
fi
echo "kernel $(cat "$target/VERSION") is in ${target#"$root/"}"
