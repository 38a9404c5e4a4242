#!/usr/bin/env bash
# Fetches what the nested host is made of (docs/nested-harness.md) into build/nested-host, without installing it:
#   vmlinuz, modules/  its kernel              qemu/    QEMU and its firmware, unpacked; not there: the machine's own QEMU
#   VERSION            what the kernel is      SOURCE   the Debian suite that they are from
#   tools/nested_host.sh          do it, unless it is there already
#   tools/nested_host.sh --check  status 0: there is nothing to do, 1: it needs fetching
# On Debian 12 kernel and QEMU are those of its backports, read from the mirror that the machine's own package sources name
# with lists of its own: neither the machine's sources nor its packages change. Where the backports cannot be reached they
# are the guests' kernel and the installed QEMU. Delete the folder to try again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$root/tools/kernel_package.sh"

target=$root/build/nested-host
release=bookworm
suite=$release-backports
packages=(qemu-system-x86 qemu-system-data seabios)

recipe_hash() {
  cat "${BASH_SOURCE[0]}" "$root"/tools/{kernel_package.sh,apt_sources.py} "$root/build/guest-kernel/VERSION" |
    sha256sum | cut -d' ' -f1
}

is_current() { [[ $(cat "$target/.recipe" 2>/dev/null) == "$(recipe_hash)" ]]; }

# Sources, lists, cache and preferences of the backports alone, all below the folder $1.
use_backports() {
  local apt=$1/apt
  mkdir -p "$apt"/{sources,lists/partial,cache/archives/partial}
  /usr/bin/python3 "$root/tools/apt_sources.py" --backports "$release" "$apt/sources"
  apt_options=(-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt/sources" -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$apt/lists" -o Dir::State::Status=/dev/null
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
  apt-get "${apt_options[@]}" -o Acquire::Retries=3 -o APT::Update::Error-Mode=any update
}

fetch_backports() {
  local work=$1 kernel package
  use_backports "$work"
  kernel=$(versioned_kernel)
  [[ -n $kernel ]] || die "$suite has no $kernel_package"
  mkdir "$work/debs"
  download "$work/debs" "$kernel" "${packages[@]}"
  unpack_kernel "$work/debs/$kernel"_*.deb "$work" "$work/new"
  for package in "${packages[@]}"; do
    dpkg-deb --extract "$work/debs/$package"_*.deb "$work/new/qemu"
  done
  # Its libraries are those of the distribution's own QEMU, which is installed.
  "$work/new/qemu/usr/bin/qemu-system-x86_64" --version
  echo "$suite" >"$work/new/SOURCE"
}

take_stable() {
  local new=$1/new
  rm -rf "$new"
  mkdir "$new"
  cp -al "$root"/build/guest-kernel/{vmlinuz,modules,VERSION} "$new"
  echo stable >"$new/SOURCE"
}

case ${1:-} in
  --check)
    is_current
    exit
    ;;
  --backports) # a step of this program's own, which may fail anywhere
    fetch_backports "$2"
    exit
    ;;
esac

[[ -e $root/build/guest-kernel/VERSION ]] || die "build/guest-kernel is missing; run ./dev guest-kernel"
exec 9>"$root/build/nested-host.lock"
flock 9
if ! is_current; then
  rm -rf "$target".work.*
  work=$(mktemp -d "$target.work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if [[ $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release) != "$release" ]] || ! "${BASH_SOURCE[0]}" --backports "$work"; then
    warn "no $suite here or on the mirror, as said above: the installed QEMU and the guests' kernel are the nested host's"
    take_stable "$work"
  fi
  recipe_hash >"$work/new/.recipe"
  chmod 755 "$work/new"
  rm -rf "$target"
  mv "$work/new" "$target"
fi
echo "kernel $(<"$target/VERSION") of $(<"$target/SOURCE") is in ${target#"$root/"}"
