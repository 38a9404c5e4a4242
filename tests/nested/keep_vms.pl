#!/usr/bin/perl
# Keeps two idle VMs for as long as the nested host lives. See "A defect of QEMU 7.2" in docs/nested-harness.md:
# the kernel patches its scheduler and KVM's code when the first VM of a kind comes and when the last one goes,
# which must not happen while anything else runs. One has an interrupt controller, the other has none.
use strict;
use warnings;

my ($CREATE_VM, $CREATE_VCPU, $CREATE_IRQCHIP) = (0xAE01, 0xAE41, 0xAE60);

pipe(my $done, my $report) or die "pipe: $!";
if (fork) {
  close $report;
  die "no VM could be made\n" unless defined <$done>;
  exit 0;
}

sub call {
  my ($file, $request) = @_;
  my $result = ioctl($file, $request, 0) or die "KVM's request $request: $!\n";
  return $result if $result eq '0 but true';
  # A descriptor: kept open by never closing it.
  open(my $made, '+<&=', $result) or die "descriptor $result: $!\n";
  return $made;
}

open(my $kvm, '+<', '/dev/kvm') or die "/dev/kvm: $!\n";
my @kept;
for my $has_irqchip (1, 0) {
  my $vm = call($kvm, $CREATE_VM);
  call($vm, $CREATE_IRQCHIP) if $has_irqchip;
  push @kept, $vm, call($vm, $CREATE_VCPU);
}
syswrite($report, "kept\n");
close $report;
sleep while 1;
