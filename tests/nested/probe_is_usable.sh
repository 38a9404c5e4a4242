#!/bin/sh
# Proves that /dev/kvm here runs guest kernel code at full speed, as the probe judges.   probe_is_usable.sh KVM_TEST
set -eu
output=$("$1" --test-case='the probe*loop on the real device*')
echo "$output"
echo "$output" | grep -q 'runs guest kernel code at full speed'
