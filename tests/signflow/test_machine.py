"""What the machine offers: memory that is kept."""

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
def test_kept_memory_is_not_mapped_again():
    """Each page that is mapped again is a page fault."""
    code = (
        "import resource, sys\nfrom signflow.machine import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': assert keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "step = lambda: [bytearray(1 << 20) for _ in range(20)]\n"
        "step()\nbefore = faults()\nstep()\nprint(faults() - before)"
    )

    def faults(how):
        return int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True).stdout)

    assert 2 * faults("keep") < faults("default")
