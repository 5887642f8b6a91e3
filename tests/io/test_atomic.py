import errno
import os

import pytest

from presence.errors import InputError
from presence.io.atomic import atomic_file, atomic_folder, write_text


def test_a_file_appears_whole_and_with_ordinary_permissions(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.suffix == ".txt"
    assert path.read_text() == "half" and os.listdir(path.parent) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError) as caught, atomic_file(tmp_path / "a.txt") as temporary:
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert caught.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "out") as folder:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "b.png"))
    assert caught.value.filename == str(tmp_path / "out" / "b.png")


def test_a_folder_appears_at_once_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt), atomic_folder(out) as folder:
        (folder / "a").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(out) as folder:
        (folder / "a").write_text("x")
        assert not out.exists()
    assert os.listdir(out) == ["a"] and os.listdir(out.parent) == ["out"]


def test_a_folder_that_exists_keeps_what_else_it_holds(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes").write_text("mine")
    (out / "a").write_text("old")
    with atomic_folder(out) as folder:
        (folder / "a").write_text("new")
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_text("b")
    assert (out / "notes").read_text() == "mine" and (out / "a").read_text() == "new"
    assert (out / "sub" / "b").read_text() == "b" and os.listdir(tmp_path) == ["out"]
    with pytest.raises(RuntimeError), atomic_folder(out) as folder:
        (folder / "a").write_text("newer")
        raise RuntimeError
    assert (out / "a").read_text() == "new" and sorted(os.listdir(out)) == ["a", "notes", "sub"]


def test_things_in_the_way_are_input_errors(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(InputError, match="in the way"), atomic_folder(tmp_path / "file" / "out"):
        pass
    with pytest.raises(InputError, match="is a folder"), atomic_file(tmp_path):
        pass
