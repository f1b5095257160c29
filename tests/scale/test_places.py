"""Paths and URLs alike: whole or not at all, and what cannot be read is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertone.errors import ConfigError, DataError, OutputError
from undertone.scale import places


@pytest.fixture(params=["path", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "folder")
    return f"memory://{tmp_path.name}-{tmp_path.parent.name}/folder"


def test_what_is_written_is_read(folder: str, tmp_path: Path) -> None:
    place = places.join(folder, "a.bin")
    assert not places.exists(place)
    assert places.names(folder) == []
    places.write(place, b"one")
    places.write(place, b"two")
    (tmp_path / "local").write_bytes(b"three")
    places.put(tmp_path / "local", places.join(folder, "b.bin"))
    assert places.exists(place)
    assert places.read(place) == b"two"
    assert places.read(places.join(folder, "b.bin")) == b"three"
    assert places.names(folder) == ["a.bin", "b.bin"]
    places.remove(place)
    assert places.names(folder) == ["b.bin"]


def test_what_is_not_there_is_said_in_one_line(folder: str) -> None:
    with pytest.raises(DataError, match="cannot be read") as caught:
        places.read(places.join(folder, "nothing"))
    assert "\n" not in str(caught.value)


def test_a_mark_changes_with_the_file(folder: str) -> None:
    place = places.join(folder, "a.bin")
    places.write(place, b"one")
    first = places.mark(place)
    assert places.mark(place) == first
    places.write(place, b"other")
    assert places.mark(place) != first


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "a.bin")
    places.write(place, b"one")

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="no space"):
        places.write(place, b"two")
    monkeypatch.undo()
    assert places.read(place) == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_names_and_urls_join_and_part() -> None:
    assert places.join("s3://b/k/", "x.wav") == "s3://b/k/x.wav"
    assert places.join("s3://b/k", "gs://c/y.wav") == "gs://c/y.wav"
    assert places.join("folder", str(Path("/abs/y.wav").absolute())) == str(Path("/abs/y.wav").absolute())
    assert places.parent("s3://b/k/m.jsonl") == "s3://b/k"
    assert not places.is_url("C:\\calls\\m.jsonl")


def test_a_scheme_that_nobody_knows_is_the_users_error() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        places.read("nonsense://a/b")
