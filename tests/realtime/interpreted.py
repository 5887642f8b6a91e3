"""Runs a test function in a fresh process in which Triton interprets its kernels on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_interpreted(code):
    """Runs Python code beside these tests; whether to interpret is decided at import."""
    pytest.importorskip("triton")
    folders = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join(folders),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    if "only 0-dimensional arrays can be converted" in done.stderr:
        pytest.skip("this Triton's interpreter does not run on the installed numpy")
    assert done.returncode == 0, done.stderr[-2000:]
