"""The store keeps what it was given, loses nothing that was finished, and never reads damage."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from undertone.errors import StoreError
from undertone.store import Store, default_root
from undertone.store.care import STALE_SECONDS

Arrays = dict[str, NDArray[Any]]


def arrays(number: int) -> Arrays:
    rng = np.random.default_rng(number)
    return {"frames": rng.normal(size=(5 + number % 7, 3)).astype(np.float32)}


def fill(store: Store, numbers: range, made_by: str = "some encoder") -> None:
    with store.writer() as writer:
        for number in numbers:
            writer.put(f"key{number}", arrays(number), made_by)


def same(found: Arrays | None, expected: Arrays) -> bool:
    return found is not None and all(
        found.keys() == expected.keys() and np.array_equal(found[n], expected[n]) for n in expected
    )


def shards(store: Store) -> list[Path]:
    return sorted(store.shards.glob("*.safetensors"))


def test_what_is_put_is_what_is_got(tmp_path: Path) -> None:
    given: Arrays = {
        "frames": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "half": np.ones((2, 3, 4), np.float16),
        "chars": np.zeros((0, 2), np.int32),
        "long": np.array([1, -1], np.int64),
    }
    with Store(tmp_path).writer() as writer:
        writer.put("k", given, "me")
    found = Store(tmp_path).get("k")
    assert same(found, given) and found is not None
    assert all(found[name].dtype == given[name].dtype for name in given)
    assert Store(tmp_path).get("other") is None


def test_reading_copies_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, range(3))
    found = store.get("key1")
    assert found is not None
    frames = found["frames"]
    assert not frames.flags.owndata and not frames.flags.writeable
    assert frames.ctypes.data % frames.itemsize == 0


def test_shards_are_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    store = Store(tmp_path)
    fill(store, range(2))
    (shard,) = shards(store)
    assert load_file(shard).keys() == {"key0/frames", "key1/frames"}


def test_the_writer_does_not_keep_the_callers_array(tmp_path: Path) -> None:
    store, scratch = Store(tmp_path), np.zeros((2, 2), np.float32)
    with store.writer() as writer:
        writer.put("a", {"frames": scratch})
        scratch[:] = 9
        writer.put("b", {"frames": scratch})
    assert same(store.get("a"), {"frames": np.zeros((2, 2), np.float32)})


def test_full_or_old_shards_are_closed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writer(shard_bytes=100) as writer:
        for number in range(6):
            writer.put(f"key{number}", {"x": np.zeros(15, np.float32)})
        assert len(shards(store)) == 3
    with store.writer(shard_seconds=0.0) as writer:
        writer.put("old", {"x": np.zeros(1, np.float32)})
        assert same(store.get("old"), {"x": np.zeros(1, np.float32)})


def test_an_error_in_the_middle_keeps_what_was_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def interrupted() -> None:
        with store.writer() as writer:
            writer.put("a", arrays(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert same(Store(tmp_path).get("a"), arrays(1))


def test_one_store_sees_what_another_wrote(tmp_path: Path) -> None:
    reader, writer = Store(tmp_path), Store(tmp_path)
    for start in (0, 5, 10):  # faster than the file system's clock may tick
        fill(writer, range(start, start + 5))
        assert same(reader.get(f"key{start + 4}"), arrays(start + 4))
    assert len(reader) == 15


@pytest.mark.parametrize("where", ["data", "name", "shape", "checksum"])
def test_damage_is_noticed_never_read_and_healed_by_writing_again(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    fill(store, range(4))
    (shard,) = shards(store)
    content = bytearray(shard.read_bytes())
    spot = {
        "data": len(content) - 3,
        "name": content.index(b"key2/frames"),
        "shape": content.index(b'"shape":[') + len(b'"shape":['),
        "checksum": content.index(b"checksums") + 40,
    }[where]
    content[spot] = content[spot] ^ 1
    shard.write_bytes(content)
    hurt = Store(tmp_path)
    found = {number: hurt.get(f"key{number}") for number in range(4)}
    lost = [number for number, value in found.items() if value is None]
    assert lost and all(same(value, arrays(n)) for n, value in found.items() if value is not None)
    assert hurt.verify()
    assert "again" in caplog.text
    fill(hurt, range(4))
    for again in (hurt, Store(tmp_path)):
        assert all(same(again.get(f"key{n}"), arrays(n)) for n in range(4))


@pytest.mark.parametrize("kept", [0, 5, 50, -1])
def test_a_shard_cut_short_is_as_if_it_were_not_there(tmp_path: Path, kept: int) -> None:
    store = Store(tmp_path)
    fill(store, range(4))
    (shard,) = shards(store)
    shard.write_bytes(shard.read_bytes()[:kept])
    hurt = Store(tmp_path)
    assert hurt.get("key1") is None and len(hurt.verify()) == 1
    assert hurt.gc() > 0 or kept == 0
    assert not shards(hurt) and hurt.verify() == []


def test_gc_gives_back_the_double_the_damaged_and_the_abandoned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, range(6))
    fill(store, range(3, 9))
    leftover, fresh = store.partial / "killed.safetensors", store.partial / "working.safetensors"
    for path in (leftover, fresh):
        path.write_bytes(b"x" * 1000)
    os.utime(leftover, (time.time() - 2 * STALE_SECONDS,) * 2)
    before = store.stat()
    assert store.gc() >= 1000
    after = store.stat()
    assert after.bytes < before.bytes and after.entries == 9 and after.partial == 1
    assert not leftover.exists() and fresh.exists(), "another writer is still at work on it"
    assert all(same(Store(tmp_path).get(f"key{n}"), arrays(n)) for n in range(9))
    assert store.gc() == 0


def test_gc_can_remove_one_encoders_features_or_old_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, range(3), "a")
    fill(store, range(3, 5), "b")
    assert store.stat().by_encoder.keys() == {"a", "b"}
    store.gc(encoder="a")
    assert store.stat().by_encoder.keys() == {"b"} and same(store.get("key4"), arrays(4))
    os.utime(shards(store)[0], (time.time() - 100,) * 2)
    store.gc(older_than=50)
    assert len(store) == 0


def test_a_reader_survives_another_processes_gc(tmp_path: Path) -> None:
    writer, reader = Store(tmp_path), Store(tmp_path)
    fill(writer, range(4))
    fill(writer, range(2, 6))
    assert same(reader.get("key0"), arrays(0))
    late = Store(tmp_path)
    writer.gc()
    assert all(same(s.get(f"key{n}"), arrays(n)) for s in (reader, late) for n in range(6))


def test_clear_leaves_an_empty_store_that_works(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, range(4))
    assert store.clear() > 0 and len(store) == 0 and not shards(store)
    fill(store, range(2))
    assert same(store.get("key1"), arrays(1))


def test_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(StoreError, match="schema 99, this version reads 1"):
        Store(tmp_path)
    (tmp_path / "store.json").write_text("what?")
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path)


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert store.get("a") is None and store.stat().bytes == 0 and store.gc() == 0
    assert not (tmp_path / "nowhere").exists()


def test_the_default_place_is_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path))
    assert default_root() == tmp_path / "store"
    monkeypatch.delenv("UNDERTONE_CACHE")
    assert default_root().name == "store" and "undertone" in default_root().parts


def _write_many(root: Path, start: int) -> None:
    store = Store(root)
    for first in range(start, start + 12, 3):
        fill(store, range(first, first + 3))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, 8 * n)) for n in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0
    store = Store(tmp_path)
    assert len(store) == 28 and store.verify() == []
    assert all(same(store.get(f"key{n}"), arrays(n)) for n in range(28))
