#!/usr/bin/env bash
# Installs what the named groups of tools/packages.txt need and the machine has not: tools/install.sh GROUP...
# One look at dpkg's list and nothing else when all is there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

missing_packages() {
  local wanted
  wanted=$(for group in "$@"; do sed -n "s/^$group: *\([^#]*\).*/\1/p" "$root/tools/packages.txt"; done | xargs -n 1)
  # shellcheck disable=SC2086
  comm -23 <(sort -u <<<"$wanted") \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

# A package may bring a system service (nginx). We need its program only, so nothing may start, now or at boot.
forbid_services() {
  [[ -e /usr/sbin/policy-rc.d ]] && return
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
}

mapfile -t missing < <(missing_packages "$@")
((${#missing[@]})) || exit 0

apt_get=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Install-Recommends=false)
if ((EUID != 0)); then
  die "${#missing[@]} packages are missing and installing needs root. As root run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
fi
say "installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
forbid_services
run_logged apt-update "reading the package lists" "${apt_get[@]}" update
run_logged apt-install "installing packages" "${apt_get[@]}" install -y --no-upgrade "${missing[@]}"
if [[ " ${missing[*]} " == *' nginx-light '* ]]; then
  run_logged nginx-disable "keeping nginx from starting at boot" update-rc.d nginx disable
fi
