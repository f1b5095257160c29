"""Members of tar archives are read where they lie, and nothing else is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from undertone import audio
from undertone.errors import AudioError


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """An archive of two clips, a link, and members that would escape a careless unpacking."""
    rng = np.random.default_rng(0)
    waves = {f"a/clip {i}.flac": (0.1 * rng.standard_normal(1600)).astype(np.float32) for i in range(2)}
    path = tmp_path / "shard ü.tar"
    with tarfile.open(path, "w") as tar:
        for name, wave in waves.items():
            audio.save(tmp_path / "clip.flac", wave)
            tar.add(tmp_path / "clip.flac", name)
        link = tarfile.TarInfo("link.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        for name in ("../out.flac", "/abs.flac", "a/../../out.flac"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
        tar.add(tmp_path / "clip.flac", "#odd#.flac")
    return path


def test_a_member_is_read_as_the_file_it_was(shard: Path, tmp_path: Path) -> None:
    last = tmp_path / "clip.flac"
    for member in ("a/clip 1.flac", "#odd#.flac"):
        ref = f"{shard}#{member}"
        np.testing.assert_array_equal(audio.load(ref), audio.load(last))
        assert audio.info(ref) == audio.info(last) == audio.check(ref)
        assert audio.digest(ref) == audio.digest(last)
    assert audio.digest(f"{shard}#a/clip 0.flac") != audio.digest(last)


@pytest.mark.parametrize(
    "member", ["gone.flac", "link.flac", "../out.flac", "/abs.flac", "a/../../out.flac", "a", ""]
)
def test_what_is_no_plain_member_is_refused(shard: Path, member: str) -> None:
    with pytest.raises(AudioError, match="the archive has no such member"):
        audio.load(f"{shard}#{member}")


def test_a_changed_archive_is_read_anew(shard: Path, tmp_path: Path) -> None:
    ref = f"{shard}#a/clip 0.flac"
    before = audio.digest(ref)
    audio.save(tmp_path / "new.flac", np.zeros(999, np.float32))
    with tarfile.open(shard, "w") as tar:
        tar.add(tmp_path / "new.flac", "a/clip 0.flac")
    assert audio.digest(ref) != before


def test_a_missing_or_broken_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.tar#x\.wav: no such archive"):
        audio.load(f"{tmp_path}/gone.tar#x.wav")
    (tmp_path / "words.tar").write_text("not an archive " * 99)
    with pytest.raises(AudioError, match=r"words\.tar: not a readable \(uncompressed\) tar archive"):
        audio.load(f"{tmp_path}/words.tar#x.wav")


def test_a_file_whose_name_looks_like_a_member_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tar#clip.wav"
    audio.save(path, np.zeros(160, np.float32))
    assert len(audio.load(path)) == 160
