"""What tests of several folders share."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool in this process; returns exit code, stdout and stderr."""

    def run(name: str, *arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


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
