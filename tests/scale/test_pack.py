"""Shards give back what went in, by names of their own, and nothing from a manifest is ever a path."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from undertone import audio
from undertone import manifest as manifests
from undertone.errors import AudioError, DataError
from undertone.scale import places
from undertone.scale.pack import pack
from undertone.scale.parts import open_source
from undertone.scale.shards import columns, table
from undertone.scale.stage import staged
from undertone.types import Utterance


def waves(place: str) -> dict[str, np.ndarray]:
    found = {}
    for part in open_source(place, 4).parts:
        with staged(part) as rows:
            for one in rows:
                here = one.local
                found[one.utterance.id] = audio.load(here.audio, here.start, here.end)
    return found


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_what_was_packed_sounds_the_same(make_corpus: Any, tmp_path: Path, form: Any) -> None:
    manifest = make_corpus(11)
    done = pack(manifest, str(tmp_path / "shards"), form=form, megabytes=0.01, rows=2)
    assert len(done.shards) > 2
    expected, found = waves(str(manifest)), waves(done.manifest)
    assert list(found) == list(expected)
    for name, wave in expected.items():
        np.testing.assert_array_equal(found[name], wave)


def test_a_manifest_beside_tars_is_read_by_every_command(make_corpus: Any, tmp_path: Path) -> None:
    done = pack(make_corpus(4), str(tmp_path / "shards"), form="tar")
    held = manifests.read(done.manifest)
    assert held.meta.provenance[-1]["stage"] == "pack"
    for utterance in held.resolved():
        assert len(audio.load(utterance.audio))


def test_a_recording_that_many_share_is_packed_once(make_corpus: Any, tmp_path: Path) -> None:
    path = make_corpus(1)
    held = manifests.read(path)
    parts = [replace(held.resolved()[0], id=f"p{i}", start=0.01 * i, end=0.01 * i + 0.03) for i in range(5)]
    manifests.write(path, parts, held.meta)
    size = (path.parent / "0.wav").stat().st_size
    (shard,) = pack(path, str(tmp_path / "shards")).shards
    recordings = pq.read_table(tmp_path / "shards" / shard, columns=["recording"])["recording"].to_pylist()
    assert [None if data is None else len(data) for data in recordings] == [size, None, None, None, None]
    assert [len(wave) for wave in waves(str(tmp_path / "shards")).values()] == [480] * 5


def test_the_same_recordings_make_the_same_bytes(make_corpus: Any, tmp_path: Path) -> None:
    for form in ("parquet", "tar"):
        names = [pack(make_corpus(5), str(tmp_path / f"{form}{i}"), form=form).shards for i in range(2)]
        assert names[0] == names[1]
        first, second = (tmp_path / f"{form}{i}" / names[i][0] for i in range(2))
        assert first.read_bytes() == second.read_bytes()


def test_a_finished_pack_is_not_packed_into(make_corpus: Any, tmp_path: Path) -> None:
    pack(make_corpus(3), str(tmp_path / "shards"))
    with pytest.raises(DataError, match="finished pack"):
        pack(make_corpus(3), str(tmp_path / "shards"))


def test_shards_that_a_killed_pack_left_do_not_stay(make_corpus: Any, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    out.mkdir()
    (out / "shard-00007-0123456789abcdef.parquet").write_bytes(b"half")
    (out / "mine.parquet.txt").write_text("not ours")
    done = pack(make_corpus(3), str(out))
    assert {p.name for p in out.iterdir()} == {*done.shards, "pack.meta.json", "mine.parquet.txt"}


def test_a_recording_that_is_missing_is_named(make_corpus: Any, tmp_path: Path) -> None:
    path = make_corpus(3)
    (path.parent / "1.wav").unlink()
    with pytest.raises(AudioError, match=r"1\.wav"):
        pack(path, str(tmp_path / "shards"))
    assert not (tmp_path / "shards" / "pack.meta.json").exists()


def test_an_object_store_takes_and_gives_shards(make_corpus: Any) -> None:
    manifest = make_corpus(5)
    done = pack(manifest, "memory://bucket/shards", rows=2)
    assert places.names("memory://bucket/shards") == sorted([*done.shards, "pack.meta.json"])
    expected, found = waves(str(manifest)), waves("memory://bucket/shards")
    assert all(np.array_equal(found[name], wave) for name, wave in expected.items())


def test_no_name_in_a_shard_leaves_the_folder(tmp_path: Path) -> None:
    """A hostile shard: its recordings are called after places where they should not be written."""
    import pyarrow as pa

    sound = io.BytesIO()
    import soundfile

    soundfile.write(sound, np.zeros(160), 16_000, format="WAV")
    names = ["../../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "C:\\evil.wav", "x\x00y.wav"]
    rows = [Utterance(f"u{i}", name) for i, name in enumerate(names)]
    with pq.ParquetWriter(tmp_path / "shard.parquet", columns(pa)) as writer:
        writer.write_table(table(pa, rows, {u.audio: sound.getvalue() for u in rows}))
    (part,) = open_source(str(tmp_path / "shard.parquet"), 8).parts
    with staged(part) as found:
        folders = {Path(one.local.audio).parent for one in found}
        assert len(folders) == 1
        assert all(len(audio.load(one.local.audio)) == 160 for one in found)
        assert {p.parent for p in Path(folders.copy().pop()).iterdir()} == folders
    assert not folders.pop().exists()


def test_a_member_outside_its_archive_is_no_member(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name in ("../out.wav", "/abs.wav"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    for name in ("../out.wav", "/abs.wav"):
        with pytest.raises(AudioError, match="no such member"):
            audio.load(f"{tmp_path}/evil.tar#{name}")
