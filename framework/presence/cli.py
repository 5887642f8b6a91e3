"""What every command-line tool shares: one line for a user's error, exit code 2, plain logging."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from presence.errors import PresenceError

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# The ways in which the file system, rather than a mistake of ours, says no.
_FILE_SYSTEM = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
    }
)


def run_tool(main: Callable[[], int | None]) -> NoReturn:
    """Runs a tool's `main` and leaves the process with its exit code.

    A `PresenceError`, a full disk, a missing permission or file, and memory that runs out become
    one line on stderr and exit code 2; Ctrl-C becomes one line and 130. Anything else is a defect
    of ours and keeps its traceback. `PRESENCE_DEBUG=1` shows the traceback of every error.

    Args:
        main: reads `sys.argv`, does its work and returns an exit code (None means 0).

    Example:
        >>> try:
        ...     run_tool(lambda: 0)
        ... except SystemExit as stop:
        ...     stop.code
        0
    """
    _hide_tools()
    _start_logging()
    try:
        with _watched_threads():
            code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`) has left; that is no error of the tool
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _report("interrupted", INTERRUPTED)
    except Exception as error:
        text = user_text(error)
        if text is None or os.environ.get("PRESENCE_DEBUG"):
            raise
        code = _report(text, USER_ERROR)
    sys.exit(code)


def user_text(error: BaseException) -> str | None:
    """Returns the one line to show for an error that is the user's to solve, else None."""
    if isinstance(error, PresenceError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in _FILE_SYSTEM:
        where = f": {error.filename}" if error.filename else ""
        return f"{(error.strerror or type(error).__name__).lower()}{where}"
    # By name, so that tools that need no torch do not import it for this.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: use a smaller batch or picture size, or --device cpu"
    return None


def _hide_tools() -> None:
    """Takes the running script's folder off the import path.

    Python puts it first, where `tools/profile.py` and `tools/test.py` would stand in for the
    standard library's modules of those names (`cProfile` imports `profile`).
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is not None:
        folder = os.path.dirname(os.path.realpath(script))
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != folder]


@contextmanager
def _watched_threads() -> Iterator[None]:
    """Raises at the end what stopped another thread, where it is the user's to solve.

    Such as a full disk that only a writer in the background met, whose traceback would else be
    all that is said of it.
    """
    failed: list[BaseException] = []
    usual = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        if error is None or user_text(error) is None or os.environ.get("PRESENCE_DEBUG"):
            usual(args)
        else:
            failed.append(error)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual
    if failed:
        raise failed[0]


def _report(text: str, code: int) -> int:
    print(f"error: {text}" if code == USER_ERROR else text, file=sys.stderr)
    return code


def _start_logging() -> None:
    # A log file that cannot be written stops nothing; what can, says so itself.
    logging.raiseExceptions = bool(os.environ.get("PRESENCE_DEBUG"))
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(levelname).1s %(name)s: %(message)s")
    for name in ("presence", "presence_plugins"):
        logging.getLogger(name).setLevel(logging.INFO)
