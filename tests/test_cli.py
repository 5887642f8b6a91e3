"""The exit codes and one-line errors of tools."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from presence.cli import run_tool
from presence.errors import ConfigError


def _raise(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("no such\n  thing"), 2, "error: no such thing\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            2,
            "error: no space left on device: a.png\n",
        ),
        (PermissionError(errno.EACCES, "Denied", "/x"), 2, "error: denied: /x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_user_errors_become_one_line(error, code, line, capsys):
    with pytest.raises(SystemExit) as stop:
        run_tool(_raise(error))
    assert stop.value.code == code
    assert capsys.readouterr().err == line


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 // 0)


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("PRESENCE_DEBUG", "1")
    with pytest.raises(ConfigError):
        run_tool(_raise(ConfigError("bad")))


def test_return_value_is_the_exit_code():
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda: 3)
    assert stop.value.code == 3


def test_a_closed_pipe_is_silent():
    code = "from presence.cli import run_tool; run_tool(lambda: print('x' * 10_000_000))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_a_tool_cannot_stand_in_for_a_standard_module(tmp_path):
    (tmp_path / "profile.py").write_text("raise SystemExit('the wrong profile')")
    tool = tmp_path / "tool.py"
    tool.write_text(
        "from presence.cli import run_tool\n"
        "def main():\n"
        "    import cProfile\n"
        "    print(cProfile.run)\n"
        "run_tool(main)\n"
    )
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "function run" in done.stdout, done.stderr
