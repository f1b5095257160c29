"""Parts cover everything once, and their names change with what they are made of and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone import audio
from undertone import manifest as manifests
from undertone.errors import ManifestError
from undertone.scale.pack import pack
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.stage import staged


def ids(part: WorkPart) -> list[str]:
    with staged(part) as rows:
        return [one.utterance.id for one in rows]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), rows=st.integers(1, 12), blank=st.sets(st.integers(0, 39)))
def test_every_line_is_in_one_part_whatever_the_cut(
    tmp_path_factory: pytest.TempPathFactory, count: int, rows: int, blank: set[int]
) -> None:
    path = tmp_path_factory.mktemp("cut") / "m.jsonl"
    lines = []
    for number in range(count):
        lines.append(json.dumps({"id": f"é{number}", "audio": "nowhere.wav"}, ensure_ascii=False))
        lines += [""] if number in blank else []
    path.write_text("\n".join(lines), encoding="utf-8")  # the last line without its line feed
    source = open_source(str(path), rows)
    assert source.utterances == count
    assert [name for part in source.parts for name in ids(part)] == [f"é{n}" for n in range(count)]
    assert [part.number for part in source.parts] == list(range(len(source.parts)))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_manifest_in_parquet_is_cut_like_one_in_lines(make_corpus: Any, suffix: str) -> None:
    path = make_corpus(10, f"m{suffix}")
    source = open_source(str(path), 4)
    assert [part.utterances for part in source.parts] == [4, 4, 2]
    assert [name for part in source.parts for name in ids(part)] == [f"u{n:03}" for n in range(10)]
    assert source.meta.corpus == "tones"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_change_renames_its_own_part_alone(make_corpus: Any, suffix: str) -> None:
    path = make_corpus(9, f"m{suffix}")
    names = [part.name("w") for part in open_source(str(path), 3).parts]
    assert names == [part.name("w") for part in open_source(str(path), 3).parts]
    assert len(set(names)) == 3

    held = manifests.read(path)
    changed = list(held.resolved())
    changed[4] = type(changed[4])(**{**_fields(changed[4]), "text": "something else"})
    manifests.write(path, changed, held.meta)
    retold = [part.name("w") for part in open_source(str(path), 3).parts]
    assert [a == b for a, b in zip(names, retold, strict=True)] == [True, False, True]

    wave = audio.load(path.parent / "8.wav")
    audio.save(path.parent / "8.wav", wave[:800], 16_000)
    from undertone.scale import parts

    parts._local.cache_clear()  # another run is another process
    again = [part.name("w") for part in open_source(str(path), 3).parts]
    assert [a == b for a, b in zip(retold, again, strict=True)] == [True, True, False]


def _fields(utterance: Any) -> dict[str, Any]:
    return {name: getattr(utterance, name) for name in utterance.__dataclass_fields__}


def test_another_work_has_other_names(make_corpus: Any) -> None:
    (part,) = open_source(str(make_corpus(3)), 8).parts
    assert part.name("one") != part.name("other")


def test_packed_shards_keep_their_names_wherever_they_lie(make_corpus: Any, tmp_path: Path) -> None:
    pack(make_corpus(9), str(tmp_path / "a"), megabytes=0.01, rows=2)
    (tmp_path / "a").rename(tmp_path / "b")
    pack(make_corpus(9), str(tmp_path / "a"), megabytes=0.01, rows=2)
    first, second = (open_source(str(tmp_path / place), 64) for place in "ab")
    assert first.packed
    assert first.meta.corpus == "tones"
    assert [p.name("w") for p in first.parts] == [p.name("w") for p in second.parts]
    assert first.utterances == 9


def test_a_part_travels_as_text(make_corpus: Any) -> None:
    for part in open_source(str(make_corpus(5)), 2).parts:
        assert WorkPart.parse(part.text()) == part


def test_what_is_no_source_is_refused(tmp_path: Path, make_corpus: Any) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_text('{"id": "x", "audio"\n')
    (tmp_path / "notaparquet.parquet").write_bytes(b"PAR")
    for name, what in (
        ("nowhere", "neither a manifest"),
        ("nowhere.jsonl", "cannot be read"),
        ("empty.jsonl", "no utterances"),
        ("broken.jsonl", "not an utterance"),
        ("notaparquet.parquet", "not a manifest in Parquet"),
    ):
        with pytest.raises(Exception, match=what) as caught:
            open_source(str(tmp_path / name), 8)
        assert "\n" not in str(caught.value)


def test_a_manifest_that_changed_under_a_run_is_noticed(make_corpus: Any) -> None:
    path = make_corpus(6)
    *_, last = open_source(str(path), 2).parts
    path.write_bytes(b"\n".join(path.read_bytes().splitlines()[:-1]) + b"\n")
    with pytest.raises(ManifestError, match="changed since"), staged(last):
        pass
