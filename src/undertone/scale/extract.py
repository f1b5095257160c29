"""Extraction on a cluster: the local extraction's own work over parts, into shards of the feature store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.config import Config, fingerprint
from undertone.errors import ModelError, UndertoneError
from undertone.features import speech as speech_encoders
from undertone.features import text as text_encoders
from undertone.features.extract import Bad, Report
from undertone.features.keys import speech_key, text_key
from undertone.features.work import Item, work
from undertone.scale import places
from undertone.scale.cluster import connected, most
from undertone.scale.parts import Part, open_source
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, Done, Failed, Make, Watch, attempt, run
from undertone.scale.workers import Workers
from undertone.store import Store, default_root
from undertone.types import SpeechEncoder, TextEncoder

__all__ = ["Extracting", "extract", "report_of"]

SUFFIX = ".safetensors"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Encoders:
    """Both encoders' settings as a worker resolved them, and who they are."""

    speech: Settings | None
    text: Settings | None
    identities: tuple[str | None, str | None]
    names: tuple[str, ...]
    """A line each: the encoder and its precision."""

    def load(self) -> tuple[SpeechEncoder | None, TextEncoder | None]:
        """The encoders themselves, made sure to be the ones that were planned with."""
        hear, read = _build(self.speech, self.text)
        found = _identities(hear, read)
        if found != self.identities:
            raise ModelError(
                f"this machine's encoders are {found}, the run was planned with {self.identities}: "
                "other weights, settings or code; give all machines the same image"
            )
        return hear, read


def _build(
    speech: Mapping[str, Any] | None, text: Mapping[str, Any] | None
) -> tuple[SpeechEncoder | None, TextEncoder | None]:
    hear = speech_encoders.build(speech_encoders.SpeechConfig.parse(speech)) if speech else None
    read = text_encoders.build(text_encoders.TextConfig.parse(text)) if text else None
    return hear, read


def _look(speech: Settings | None, text: Settings | None) -> Encoders | str:
    """In a worker, which has the GPU and the weights that a driver may lack: what ``auto`` comes to there."""
    try:
        hear, read = _build(speech, text)
    except UndertoneError as error:
        return str(error)
    found = [e for e in (hear, read) if e is not None]
    return Encoders(
        speech and _settings(hear, speech),
        text and _settings(read, text),
        _identities(hear, read),
        tuple(f"{e.name}: {getattr(e, 'precision', 'fp32')}" for e in found),
    )


def _identities(hear: SpeechEncoder | None, read: TextEncoder | None) -> tuple[str | None, str | None]:
    return (None if hear is None else hear.identity, None if read is None else read.identity)


def _settings(encoder: Any, asked: Settings) -> Settings:
    """As the encoder resolved them (which precision, which revision), where it says so."""
    config = getattr(encoder, "config", None)
    settings: Settings = config.plain() if isinstance(config, Config) else asked
    return settings


@dataclass(frozen=True)
class Extracting:
    """The work: encoders, and the store that gets a shard a part."""

    identity: str
    store: str
    encoders: Encoders

    def finished(self) -> Callable[[Part], bool]:
        there = set(places.names(places.join(self.store, "shards")))
        return lambda part: part.name(self.identity) + SUFFIX in there

    def start(self) -> Make:
        hear, read = self.encoders.load()
        shared = None if places.is_url(self.store) else Store(self.store)

        def make(part: Part, rows: Sequence[Staged]) -> Done:
            if shared is not None:
                return self._keep(part, rows, shared, hear, read)
            with tempfile.TemporaryDirectory(prefix="undertone-store-") as folder:
                store = Store(folder)
                done = self._keep(part, rows, store, hear, read)
                self._upload(store)
            return done

        return make

    def _upload(self, store: Store) -> None:
        for shard in store.shards.glob("*" + SUFFIX):
            places.put(shard, places.join(self.store, f"shards/{shard.name}"))
        places.put(store.root / "store.json", places.join(self.store, "store.json"))

    def _keep(
        self,
        part: Part,
        rows: Sequence[Staged],
        store: Store,
        hear: SpeechEncoder | None,
        read: TextEncoder | None,
    ) -> Done:
        items, failed, hits = _missing(rows, store, hear, read)
        staged = {one.utterance.id: one for one in rows}
        figures = {"computed": 0.0, "hits": float(hits), "audio_seconds": 0.0}
        with store.writer(name=part.name(self.identity)) as writer:
            for done in work(items, writer, hear, read):
                if done.error is not None:
                    failed.append(Failed(done.id, staged[done.id].said(done.error)))
                else:
                    figures["computed"] += 1
                    figures["audio_seconds"] += done.seconds
        return Done(len(rows), tuple(failed), figures)


def _missing(
    rows: Sequence[Staged], store: Store, hear: SpeechEncoder | None, read: TextEncoder | None
) -> tuple[list[Item], list[Failed], int]:
    """What the store lacks of a part, each key once; what cannot be read; what was there."""
    wanted: list[Item] = []
    failed: list[Failed] = []
    for one in rows:
        if hear is not None:
            key, error = attempt(one, lambda one: speech_key(one.here, hear))
            if error is None:
                wanted.append(Item("speech", key, one.here))
            else:
                failed.append(Failed(one.utterance.id, error))
        if read is not None:
            wanted.append(Item("text", text_key(one.here, read), one.here))
    items = {item.key: item for item in reversed(wanted)}
    sound = {key for key in store.present(items) if store.get(key) is not None}
    missing = [item for key, item in reversed(items.items()) if key not in sound]
    return missing, failed, len(wanted) - len(missing)


def extract(
    source: str,
    store: str | None,
    speech: Settings | None,
    text: Settings | None,
    *,
    address: str | None = None,
    workers: Workers | None = None,
    say: Callable[[str], object] = lambda _line: None,
    watch: Watch | None = None,
) -> Account:
    """Encode what the store lacks of a manifest or a folder of shards.

    ``store`` is a folder that all machines share, or a URL, which gets the same shards: copied into a
    folder they are a store.
    """
    chosen = workers or Workers()
    opened = open_source(source, chosen.rows)
    root = store or str(default_root())
    root = root if places.is_url(root) else str(Path(root).absolute())
    with connected(address) as ray:
        most(ray, chosen)
        look = ray.remote(num_cpus=chosen.cpus, num_gpus=chosen.gpus)(_look)
        found = ray.get(look.remote(speech, text))
        if isinstance(found, str):
            raise ModelError(found)
        for line in found.names:
            say(line)
        identity = fingerprint(["extract", *found.identities])
        if not places.is_url(root):
            Store(root).create()
        return run(ray, opened, Extracting(identity, root, found), chosen, watch)


def report_of(account: Account) -> Report:
    """The account as the local extraction's report: what parts of an earlier run hold counts as there."""
    return Report(
        computed=int(account.figures.get("computed", 0)),
        hits=int(account.figures.get("hits", 0)) + account.resumed,
        bad=[Bad(one.id, one.why) for one in account.failed],
        audio_seconds=account.figures.get("audio_seconds", 0.0),
        wall_seconds=account.seconds,
    )
