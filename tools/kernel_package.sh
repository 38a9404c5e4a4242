# shellcheck shell=bash
# How a kernel package of the distribution is found, fetched and unpacked without installing it; for tools/guest_kernel.sh
# and tools/nested_host.sh, after tools/common.sh. `apt_options` may name other package sources than the machine's own.

kernel_package=linux-image-cloud-amd64
apt_options=()

# The package of one version that the kernel's package depends on; nothing where the sources do not know it.
versioned_kernel() {
  apt-cache "${apt_options[@]}" depends "$kernel_package" 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1
}

# download FOLDER PACKAGE...
download() {
  local folder=$1
  shift
  # As root apt changes to a user of its own, who may not write into this folder.
  (cd "$folder" && apt-get "${apt_options[@]}" -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$@") >&2
}

# unpack_kernel PACKAGE_FILE WORK TARGET: vmlinuz, modules with modules.dep, and VERSION into the folder TARGET.
unpack_kernel() {
  local file=$1 work=$2 target=$3 version
  dpkg-deb --extract "$file" "$work/root"
  version=$(basename "$work"/root/boot/vmlinuz-*)
  version=${version#vmlinuz-}
  # The modules are in /lib or, with newer packages, in /usr/lib, where depmod does not look.
  if [[ ! -d $work/root/lib/modules ]]; then
    mkdir -p "$work/root/lib"
    mv "$work/root/usr/lib/modules" "$work/root/lib/modules"
  fi
  [[ -e $work/root/lib/modules/$version/modules.dep ]] || depmod --basedir "$work/root" "$version"
  mkdir -p "$target"
  mv "$work/root/boot/vmlinuz-$version" "$target/vmlinuz"
  mv "$work/root/lib/modules/$version" "$target/modules"
  echo "$version" >"$target/VERSION"
}
