"""Files and folders that appear complete or not at all: write beside the target, then rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from presence.errors import InputError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a path to write to; it becomes `path` when the block ends without an error.

    The temporary file lies in the same folder (so that the rename is atomic) and keeps the
    suffix (so that encoders recognise the format). It is removed if the block fails.

    Raises:
        InputError: the folder cannot be made, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a file to write")
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        _rename_in_error(error, temporary, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder to fill; its files move to `path` when the block ends well.

    A folder that is already there keeps what else it holds; files of the same name are
    replaced. If the block fails, `path` is as it was before.

    Raises:
        InputError: the folder cannot be made, or `path` is a file.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, expected a folder to write to")
    missing = _first_missing(path.absolute().parent)
    _make_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _publish(temporary, path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if missing is not None:
            _remove_empty(path.absolute().parent, missing)
        if isinstance(error, OSError):
            _rename_in_error(error, temporary, path)
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def append_line(path: str | Path, line: str) -> None:
    """Adds a line to a file of lines; if it does not fit, the file stays as it was.

    Args:
        path: file to add to, made if missing.
        line: without its end.
    """
    data = memoryview((line + "\n").encode("utf-8"))
    with open(path, "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            while data:  # a disk that fills up takes the first bytes and refuses the next
                data = data[file.write(data) :]
        except OSError as error:
            file.truncate(size)
            error.filename = str(path)
            raise


def _publish(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.replace(temporary, path)
        return
    for file in sorted(temporary.rglob("*")):
        target = path / file.relative_to(temporary)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            os.replace(file, target)


def _rename_in_error(error: OSError, temporary: Path, path: Path) -> None:
    """Makes an error name the file that the user asked for, not the temporary one."""
    named = str(error.filename or temporary)
    if error.errno is not None and named.startswith(str(temporary)):
        error.filename = str(path) + named.removeprefix(str(temporary))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"cannot make the folder {folder}: a file is in the way") from error


def _first_missing(folder: Path) -> Path | None:
    """The outermost of `folder` and its parents that does not exist yet."""
    missing = None
    while not folder.exists():
        missing, folder = folder, folder.parent
    return missing


def _remove_empty(folder: Path, outermost: Path) -> None:
    """Removes the empty folders from `folder` up to `outermost`, which were made for nothing."""
    while True:
        try:
            folder.rmdir()
        except OSError:
            return
        if folder == outermost:
            return
        folder = folder.parent


def _umask() -> int:
    """The process's umask; `mkstemp` makes private files, but results should be ordinary ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
