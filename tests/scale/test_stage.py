"""Recordings at hand: beside the manifest, in an object store, in an archive there, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from undertone import audio
from undertone.errors import AudioError
from undertone.scale import places
from undertone.scale.pack import pack
from undertone.scale.parts import open_source
from undertone.scale.stage import staged
from undertone.scale.stream import attempt


def test_a_manifest_in_an_object_store_names_recordings_beside_it(make_corpus: Any) -> None:
    path = make_corpus(2)
    for name in ("0.wav", "1.wav"):
        places.put(path.parent / name, f"memory://calls/{name}")
    places.put(path, "memory://calls/m.jsonl")
    (part,) = open_source("memory://calls/m.jsonl", 8).parts
    with staged(part) as rows:
        assert [one.utterance.audio for one in rows] == ["memory://calls/0.wav", "memory://calls/1.wav"]
        for number, one in enumerate(rows):
            assert (audio.load(one.local.audio) == audio.load(path.parent / f"{number}.wav")).all()


def test_an_archive_in_an_object_store_is_fetched_once_a_part(make_corpus: Any, monkeypatch: Any) -> None:
    pack(make_corpus(4), "memory://tars", form="tar")
    fetched = []
    fetch = places.fetch
    monkeypatch.setattr(places, "fetch", lambda place, to: fetched.append(place) or fetch(place, to))
    (part,) = open_source("memory://tars/manifest.jsonl", 8).parts
    with staged(part) as rows:
        assert all(len(audio.load(one.local.audio)) for one in rows)
    assert len(fetched) == 1


def test_one_recording_that_is_not_there_fails_alone_and_in_the_sources_words(tmp_path: Path) -> None:
    lines = [{"id": "a", "audio": "memory://none/a.wav"}, {"id": "b", "audio": "b.wav"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (part,) = open_source(str(tmp_path / "m.jsonl"), 8).parts
    with staged(part) as rows:
        errors = [attempt(one, lambda one: audio.load(one.local.audio))[1] for one in rows]
    assert errors[0] is not None
    assert errors[0].startswith("memory://none/a.wav: cannot be read")
    assert errors[1] == f"{tmp_path / 'b.wav'}: no such file"


def test_an_error_about_a_file_here_speaks_of_the_file_there(make_corpus: Any, tmp_path: Path) -> None:
    path = make_corpus(1)
    (path.parent / "0.wav").write_bytes(b"no sound")
    pack(path, str(tmp_path / "shards"))
    (part,) = open_source(str(tmp_path / "shards"), 8).parts

    def fail(one: Any) -> None:
        raise AudioError(f"{one.local.audio}: cannot be read")

    with staged(part) as (one,):
        _, error = attempt(one, fail)
        assert one.local.audio not in str(error)
        assert str(error) == f"{one.utterance.audio}: cannot be read"
