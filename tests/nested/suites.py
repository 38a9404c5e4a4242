"""The tests that need a KVM which works. Add one here: it runs in a nested host, or directly where KVM is usable."""
from nested_test import NestedTest


def suites(build, kernel):
    """All tests for one build folder and one folder of the guest kernel (see tools/guest_kernel.sh)."""
    def engine(name, file, timeout_s, *files):
        # A further attempt runs only what did not pass in those before.
        passed = f"$NESTED_RESULTS/{name}.passed"
        return NestedTest(name, f"[ $NESTED_ATTEMPT -gt 1 ] || rm -f {passed}; LAMBDO_PASSED={passed} "
                          f"python3 -m pytest tests/nested/engine/{file} -p no:cacheprovider -q --tb=short -rfEs",
                          files=(f"{build}/src/cli/lambdo", f"{build}/src/cli/lambdo-server",
                                 f"{build}/tests/nested/engine/hostile_agent", *files),
                          timeout_s=timeout_s, attempts=3)

    return [
        # The engine, through POST /run. The longest first: the others have time beside it.
        engine("kvm-engine", "test_kvm_engine.py", 1800),
        engine("kvm-images", "test_registry_images.py", 900, f"{build}/tests/nested/boot_initramfs"),
        engine("kvm-network", "test_kvm_network.py", 1500, f"{build}/tests/nested/engine/liar",
               f"{build}/tests/original_agent/original_agent"),
        NestedTest("kvm-unit", f"{build}/tests/unit/kvm/kvm_test", files=(f"{build}/tests/unit/kvm/kvm_test",)),
        NestedTest("kvm-probe", f"tests/nested/probe_is_usable.sh {build}/tests/unit/kvm/kvm_test",
                   files=(f"{build}/tests/unit/kvm/kvm_test",)),
        NestedTest("vm-boot", f"{build}/tests/nested/vm_boot_test", timeout_s=900, attempts=2,
                   files=(f"{build}/tests/nested/vm_boot_test", f"{build}/tests/nested/boot_init", f"{kernel}/vmlinux")),
        NestedTest("vsock", f"{build}/tests/nested/vsock_test", timeout_s=600, attempts=2,
                   files=(f"{build}/tests/nested/vsock_test", f"{build}/tests/nested/vsock_init", f"{kernel}/vmlinux")),
        NestedTest("agent-machine", "[ -e /dev/vhost-vsock ] || modprobe vhost_vsock || { echo no vhost_vsock here; exit 77; }; "
                   f"{build}/tests/nested/agent/agent_machine_test",
                   files=(f"{build}/tests/nested/agent/agent_machine_test",), timeout_s=900, attempts=2),
        NestedTest("qemu-microvm", f"tests/nested/qemu_microvm.sh {kernel}/vmlinux", files=(f"{kernel}/vmlinux",)),
    ]
