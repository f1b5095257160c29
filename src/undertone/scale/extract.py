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
from undertone.features.config import SpeechConfig, TextConfig
from undertone.features.extract import BadUtterance, Report, speech_key, text_key
from undertone.features.work import EncodeTask, work
from undertone.scale import places
from undertone.scale.cluster import connected, most
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, FailedUtterance, Make, PartSummary, Watch, attempt, run
from undertone.scale.workers import Workers
from undertone.store import Store, default_root
from undertone.types import SpeechEncoder, TextEncoder

__all__ = ["Extracting", "extract", "report_of"]

SUFFIX = ".safetensors"
Settings = dict[str, Any]


@dataclass(frozen=True)
class ResolvedEncoders:
    """Both encoders' settings as a worker resolved them, and their identities."""

    speech: Settings | None
    text: Settings | None
    identities: tuple[str | None, str | None]
    names: tuple[str, ...]
    """A line each: the encoder and its precision."""

    def load(self) -> tuple[SpeechEncoder | None, TextEncoder | None]:
        """The encoders, checked to be those of the plan."""
        speech, text = _build(self.speech, self.text)
        identities = _identities(speech, text)
        if identities != self.identities:
            raise ModelError(
                f"this machine's encoders are {identities}, the run was planned with {self.identities}: "
                "other weights, settings or code; give all machines the same image"
            )
        return speech, text


def _build(
    speech: Mapping[str, Any] | None, text: Mapping[str, Any] | None
) -> tuple[SpeechEncoder | None, TextEncoder | None]:
    return (
        speech_encoders.build(SpeechConfig.parse(speech)) if speech else None,
        text_encoders.build(TextConfig.parse(text)) if text else None,
    )


def _resolve(speech: Settings | None, text: Settings | None) -> ResolvedEncoders | str:
    """What the settings resolve to in a worker, which has the GPU and weights that a driver may lack."""
    try:
        encoders = _build(speech, text)
    except UndertoneError as error:
        return str(error)
    return ResolvedEncoders(
        speech and _settings(encoders[0], speech),
        text and _settings(encoders[1], text),
        _identities(*encoders),
        tuple(f"{e.name}: {getattr(e, 'precision', 'fp32')}" for e in encoders if e is not None),
    )


def _identities(speech: SpeechEncoder | None, text: TextEncoder | None) -> tuple[str | None, str | None]:
    return (None if speech is None else speech.identity, None if text is None else text.identity)


def _settings(encoder: Any, given: Settings) -> Settings:
    """The settings as the encoder resolved them (precision, revision), where it keeps them."""
    config = getattr(encoder, "config", None)
    settings: Settings = config.plain() if isinstance(config, Config) else given
    return settings


@dataclass(frozen=True)
class Extracting:
    """The work: encoders, and the store that gets a shard a part."""

    identity: str
    store: str
    encoders: ResolvedEncoders

    def finished(self) -> Callable[[WorkPart], bool]:
        shards = set(places.names(places.join(self.store, "shards")))
        return lambda part: part.name(self.identity) + SUFFIX in shards

    def start(self) -> Make:
        encoders = self.encoders.load()
        shared = None if places.is_url(self.store) else Store(self.store)

        def make(part: WorkPart, rows: Sequence[Staged]) -> PartSummary:
            if shared is not None:
                return self._keep(part, rows, shared, *encoders)
            with tempfile.TemporaryDirectory(prefix="undertone-store-") as folder:
                store = Store(folder)
                summary = self._keep(part, rows, store, *encoders)
                self._upload(store)
            return summary

        return make

    def _upload(self, store: Store) -> None:
        for shard in store.shards.glob("*" + SUFFIX):
            places.put(shard, places.join(self.store, f"shards/{shard.name}"))
        places.put(store.root / "store.json", places.join(self.store, "store.json"))

    def _keep(
        self,
        part: WorkPart,
        rows: Sequence[Staged],
        store: Store,
        speech: SpeechEncoder | None,
        text: TextEncoder | None,
    ) -> PartSummary:
        items, failed, hits = _missing(rows, store, speech, text)
        staged = {one.utterance.id: one for one in rows}
        totals = {"computed": 0.0, "hits": float(hits), "audio_seconds": 0.0}
        with store.writer(name=part.name(self.identity)) as writer:
            for done in work(items, writer, speech, text):
                if done.error is not None:
                    failed.append(FailedUtterance(done.id, staged[done.id].with_source_path(done.error)))
                else:
                    totals["computed"] += 1
                    totals["audio_seconds"] += done.seconds
        return PartSummary(len(rows), tuple(failed), totals)


def _missing(
    rows: Sequence[Staged], store: Store, speech: SpeechEncoder | None, text: TextEncoder | None
) -> tuple[list[EncodeTask], list[FailedUtterance], int]:
    """What the store lacks of a part, each key once; what cannot be read; how many entries it has."""
    wanted: list[EncodeTask] = []
    failed: list[FailedUtterance] = []
    for one in rows:
        if speech is not None:
            key, error = attempt(one, lambda one: speech_key(one.local, speech))
            if error is None:
                wanted.append(EncodeTask("speech", key, one.local))
            else:
                failed.append(FailedUtterance(one.utterance.id, error))
        if text is not None:
            wanted.append(EncodeTask("text", text_key(one.local, text), one.local))
    items = {item.key: item for item in reversed(wanted)}
    intact = {key for key in store.present(items) if store.get(key) is not None}
    missing = [item for key, item in reversed(items.items()) if key not in intact]
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
        resolve = ray.remote(num_cpus=chosen.cpus, num_gpus=chosen.gpus)(_resolve)
        encoders = ray.get(resolve.remote(speech, text))
        if isinstance(encoders, str):
            raise ModelError(encoders)
        for line in encoders.names:
            say(line)
        identity = fingerprint(["extract", *encoders.identities])
        if not places.is_url(root):
            Store(root).create()
        return run(ray, opened, Extracting(identity, root, encoders), chosen, watch)


def report_of(account: Account) -> Report:
    """The account as the local extraction's report: utterances of an earlier run's parts count as hits."""
    return Report(
        computed=int(account.totals.get("computed", 0)),
        hits=int(account.totals.get("hits", 0)) + account.resumed,
        bad=[BadUtterance(one.id, one.why) for one in account.failed],
        audio_seconds=account.totals.get("audio_seconds", 0.0),
        wall_seconds=account.seconds,
    )
