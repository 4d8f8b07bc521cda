"""Files are written whole or not at all."""

import os
import stat

import pytest

from rota.core.atomic import atomic_write
from rota.core.errors import InputError


def test_a_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_write(target, "w") as file:
        file.write("line\r\nzwölf\n")
        assert not target.exists()
    assert target.read_bytes() == "line\r\nzwölf\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_block_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def interrupted():
        with atomic_write(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_device_is_written_not_replaced():
    with atomic_write(os.devnull) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_new_file_has_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a"), open(tmp_path / "b", "wb"):
        pass
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("path", ["missing/a.txt", "."])
def test_where_nothing_can_be_written(tmp_path, path):
    with pytest.raises(InputError, match="expected a file that can be written"), atomic_write(tmp_path / path):
        pass
    assert os.listdir(tmp_path) == []
