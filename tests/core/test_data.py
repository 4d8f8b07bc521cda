"""Where shared data is found."""

from pathlib import Path

import pytest

from rota.core.data import data_folder
from rota.core.errors import InputError


def test_the_environment_comes_first(tmp_path, monkeypatch):
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROTA_DATA", str(tmp_path / "mine"))
    assert data_folder() == tmp_path / "mine"
    monkeypatch.setenv("ROTA_DATA", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="ROTA_DATA"):
        data_folder()


def test_the_nearest_folder_above(tmp_path, monkeypatch):
    monkeypatch.delenv("ROTA_DATA", raising=False)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert data_folder() == tmp_path / "shared" / "data"
    (tmp_path / "a" / "shared" / "data").mkdir(parents=True)
    assert data_folder() == tmp_path / "a" / "shared" / "data"


def test_none_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("ROTA_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    inside = Path.exists
    monkeypatch.setattr(
        Path, "is_dir", lambda path: path.is_relative_to(tmp_path) and inside(path)
    )  # whatever lies above
    assert data_folder() is None
