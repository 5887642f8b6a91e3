"""What tests of several folders share."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def run_interpreted(request):
    """Runs code in a fresh process in which Triton interprets its kernels on the CPU.

    Whether it does is decided when kernels are first imported. The code may import the test's own
    module.
    """
    pytest.importorskip("triton")

    def run(code):
        folders = [str(request.path.parent), *filter(None, sys.path)]
        environment = os.environ | {
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join(folders),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        if "only 0-dimensional arrays can be converted" in done.stderr:
            pytest.skip("this Triton's interpreter does not run on the installed numpy")
        assert done.returncode == 0, done.stderr[-2000:]

    return run
