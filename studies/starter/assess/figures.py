"""Every figure of the starter, as one list: what, the value with its interval, the bar, met or not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studies.starter import clips as recordings
from studies.starter import pooled, sentences
from studies.starter.assess import judged, rivals
from studies.starter.assess.judged import Answer, folds_of, posteriors
from studies.starter.assess.worse import CONDITIONS, drawn
from studies.starter.clips import ACTED, Spoken
from studies.starter.targets import CLASSES, class_of, kind_of
from studies.starter.train import chosen
from undertone import audio
from undertone.config import fingerprint
from undertone.evaluation import metrics, significance
from undertone.evaluation.card import code_version, this_machine
from undertone.files import spawned_pool, write_json

if TYPE_CHECKING:
    from studies.starter.train import Place

__all__ = ["Figure", "figures"]

TITLES = {"ravdess": "RAVDESS-4", "emodb": "EmoDB-4", "nemo": "nEMO-4"}
LANGUAGES = {"ravdess": "English", "emodb": "German", "nemo": "Polish"}
PAIRINGS, RECOGNISED = 10, 300
BINS = 10
DURATIONS = ((0.0, 1.5, "under 1.5 s"), (1.5, 2.5, "1.5 to 2.5 s"), (2.5, 60.0, "2.5 s and more"))
"""From, to, in words."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One line; values in points, but where the name says otherwise."""

    group: str
    what: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    bar: float | None = None
    at_least: bool = True
    """Else the value may be at most the bar."""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def figures(place: Place, tell: Tell, jobs: int = 1) -> dict[str, Any]:
    """Everything that is measured, for the pages and the package."""
    known = recordings.read(place.data)
    acted = [i for i, clip in enumerate(known) if clip.corpus in ACTED]
    bench = _Bench(place, known, acted, tell, jobs)
    parts = (
        bench.within, bench.without, bench.open, bench.worsened, bench.joined, bench.words, bench.recognised,
        bench.paired,
        bench.sure, bench.abstaining, bench.breakdown,
    )  # fmt: skip
    bench.ask_ahead()
    found: list[Figure] = []
    for part in parts:
        began = time.perf_counter()
        found += part()
        tell(f"{part.__name__}: {time.perf_counter() - began:.0f} s")
    return {
        "schema": 2,
        "figures": [asdict(one) | {"met": one.met} for one in found],
        "code": code_version(),
        "machine": this_machine(),
    }


class _Bench:
    def __init__(
        self, place: Place, known: Sequence[Spoken], acted: Sequence[int], tell: Tell, jobs: int
    ) -> None:
        self.place, self.known, self.acted, self.tell, self.jobs = place, known, acted, tell, jobs
        self.truth = np.array([class_of(clip) for clip in known])
        self.clean: dict[int, Answer] = {}
        for k, fold in enumerate(folds_of(known, acted)):
            self.clean |= dict(zip(fold, judged.of_clips(place, f"fold-{k}", known, fold), strict=True))
        self.far: dict[int, Answer] = {}
        for corpus in ACTED:
            own = self.of(corpus)
            self.far |= dict(zip(own, judged.of_clips(place, f"without-{corpus}", known, own), strict=True))
        self.rows = {"probe": rivals.probed(place, known), "svm": rivals.egemaps(place, known, jobs)}

    def ask_ahead(self) -> None:
        """Ask what takes long in processes of their own; what asks again finds the answers."""
        if self.jobs == 1:
            return
        with spawned_pool(self.jobs) as workers:
            waiting = []
            for k, fold in enumerate(folds_of(self.known, self.of("ravdess", "emodb", classed=True))):
                name = f"fold-{k}"
                waiting.append(workers.submit(judged.of_joined, self.place, name, self.known, fold))
                for condition in (*CONDITIONS, judged.VOICES):
                    for corpus in ("ravdess", "emodb"):
                        own = [i for i in fold if self.known[i].corpus == corpus]
                        waiting.append(
                            workers.submit(judged.of_worse, self.place, name, condition, self.known, own)
                        )
            for number, one in enumerate(waiting, 1):
                one.result()
                if number % 10 == 0:
                    self.tell(f"answers: {number} of {len(waiting)} parts")

    def of(self, *corpora: str, classed: bool = False) -> list[int]:
        return [
            i for i in self.acted if self.known[i].corpus in corpora and (not classed or self.truth[i] >= 0)
        ]

    def ua(self, index: Sequence[int], guessed: NDArray[Any], name: str = "ua") -> dict[str, Any]:
        speakers = [self.known[i].speaker for i in index]
        tallies = significance.tally(self.truth[list(index)], guessed, speakers, len(CLASSES))
        return _spread(significance.interval(tallies, name)) | {"n": len(index)}

    def rival(self, kind: str, parts: Mapping[str, Sequence[int]]) -> tuple[list[int], NDArray[Any]]:
        """The classes that a rival gives the tested clips of some parts."""
        index: list[int] = []
        guessed = []
        for part, tested in parts.items():
            if not tested:
                continue
            learned, _ = chosen(part, self.known)
            index += tested
            guessed.append(rivals.predicted(self.place, kind, self.rows[kind], self.known, learned, tested))
        return index, np.concatenate(guessed)

    def within(self) -> list[Figure]:
        bars = {"ravdess": 85.0, "emodb": 96.0, "nemo": 78.0}
        parts = {f"fold-{k}": f for k, f in enumerate(folds_of(self.known, self.of(*ACTED, classed=True)))}
        guesses = {kind: dict(zip(*self.rival(kind, parts), strict=True)) for kind in self.rows}
        lines = []
        for corpus, bar in bars.items():
            own = self.of(corpus, classed=True)
            found = self.ua(own, posteriors([self.clean[i] for i in own]).argmax(1))
            recalls = metrics.recalls(
                self.truth[own], posteriors([self.clean[i] for i in own]).argmax(1), len(CLASSES)
            )
            more = {kind: self.ua(own, np.array([g[i] for i in own]))["value"] for kind, g in guesses.items()}
            more["recalls"] = [round(100 * float(r), 1) for r in recalls]
            lines.append(
                Figure("within", f"{TITLES[corpus]}, unseen speakers, UA", **found, bar=bar, more=more)
            )
        own = self.of("ravdess")
        kinds = np.array([kind_of(self.known[i]) for i in own])
        eight = np.array([self.clean[i].eight for i in own]).argmax(1)
        tallies = significance.tally(kinds, eight, [self.known[i].speaker for i in own], 8)
        found = _spread(significance.interval(tallies, "ua")) | {"n": len(own)}
        return [*lines, Figure("within", "RAVDESS-8, unseen speakers, UA", **found, bar=70.0)]

    def without(self) -> list[Figure]:
        bars = {"emodb": 80.0, "ravdess": 60.0, "nemo": 56.0}
        lines = []
        for corpus, bar in bars.items():
            own = self.of(corpus, classed=True)
            mine = posteriors([self.far[i] for i in own]).argmax(1)
            found = self.ua(own, mine)
            more: dict[str, Any] = {}
            for kind in self.rows:
                _, theirs = self.rival(kind, {f"without-{corpus}": own})
                more[kind] = self.ua(own, theirs)["value"]
            recalls = metrics.recalls(self.truth[own], mine, len(CLASSES))
            more["recalls"] = [round(100 * float(r), 1) for r in recalls]
            title = TITLES[corpus]
            lines.append(Figure("left out", f"{title}, corpus left out, UA", **found, bar=bar, more=more))
            for kind, name, least in (("probe", "the probe", 2.0), ("svm", "eGeMAPS + SVM", 5.0)):
                gap = found["value"] - more[kind]
                lines.append(
                    Figure("left out", f"{title}, left out, over {name}", gap, n=len(own), bar=least)
                )
        return lines

    def open(self) -> list[Figure]:
        lines = []
        for corpus, bar in (("ravdess", 54.0), ("nemo", 50.0)):
            own = self.of(corpus, classed=True)
            mine = posteriors(judged.of_clips(self.place, "open", self.known, own)).argmax(1)
            title = f"starter-open: {TITLES[corpus]}, never seen, UA"
            lines.append(Figure("open", title, **self.ua(own, mine), bar=bar))
        own, answers = [], []
        for k, fold in enumerate(folds_of(self.known, self.of("emodb", classed=True))):
            own += fold
            answers += judged.of_clips(self.place, f"open-{k}", self.known, fold)
        found = self.ua(own, posteriors(answers).argmax(1))
        return [*lines, Figure("open", "starter-open: EmoDB-4, unseen speakers, UA", **found)]

    def worsened(self) -> list[Figure]:
        titles: dict[str, tuple[str, float | None]] = {
            "noise": ("white noise at 10 dB", 5.0),
            "noise-20": ("white noise at 20 dB", None),
            "noise-0": ("white noise at 0 dB", None),
            judged.VOICES: ("two voices that read in the background, at 10 dB", None),
            "telephone": ("a telephone's band", 4.0),
            "opus": ("Opus at 16 kbit/s", 2.0),
            "mp3-32": ("MP3 at 32 kbit/s or less", 2.0),
            "gain": ("a random level, ±12 dB", None),
            "second": ("one second of the speech", None),
        }
        lines = []
        for condition, (title, most) in titles.items():
            for corpus in ("ravdess", "emodb"):
                own, answers = [], []
                for k, fold in enumerate(folds_of(self.known, self.of(corpus, classed=True))):
                    own += fold
                    answers += judged.of_worse(self.place, f"fold-{k}", condition, self.known, fold)
                now = self.ua(own, posteriors(answers).argmax(1))
                before = self.ua(own, posteriors([self.clean[i] for i in own]).argmax(1))["value"]
                what = f"{TITLES[corpus]}: UA lost by {title}"
                lost = before - now["value"]
                lines.append(Figure("worse", what, lost, n=len(own), bar=most, at_least=False, more=now))
        return lines

    def joined(self) -> list[Figure]:
        same = []
        for k, fold in enumerate(folds_of(self.known, self.of("ravdess", "emodb", classed=True))):
            by_name = {self.known[i].id: self.clean[i] for i in fold}
            for answer in judged.of_joined(self.place, f"fold-{k}", self.known, fold):
                parts = [int(np.argmax(by_name[name].posterior)) for name in answer.of]
                if parts[0] == parts[1]:
                    same.append(int(np.argmax(answer.posterior)) == parts[0])
        share = _percent(same)
        return [
            Figure(
                "worse", "joined by a pause, both parts alike: label kept, %", share, n=len(same), bar=97.0
            )
        ]

    def words(self) -> list[Figure]:
        data = self.place.data
        encode = _minilm(self.place)
        train = sentences.four(sentences.read(data, "train"))
        spoken = sentences.four(sentences.turns(data, "dailydialog", "train"))
        sets = {
            "dev": sentences.four(sentences.read(data, "dev")),
            "dailydialog": sentences.four(sentences.turns(data, "dailydialog", "valid", "test")),
            "emorynlp": sentences.four(sentences.turns(data, "emorynlp", "train", "dev", "test")),
        }
        written = rivals.words(self.place, encode, train)
        both = rivals.words(self.place, encode, [*train, *spoken])
        lines = []
        for form, bar, change in (("as written", 76.5, str), ("plain", 76.0, sentences.plain)):
            texts = [change(s.text) or s.text for s in sets["dev"]]
            for part, name, least in (("fold-0", "words", bar), ("open", "starter-open", None)):
                answers = judged.of_texts(self.place, part, f"dev-{form}", texts)
                found = _texts(sets["dev"], posteriors(answers).argmax(1), "macro_f1")
                more = {"probe": _texts(sets["dev"], both(texts), "macro_f1")["value"]}
                what = f"{name}: GoEmotions dev, {form}, macro-F1"
                lines.append(Figure("words", what, **found, bar=least, more=more))
        for corpus, part, probe in (("emorynlp", "fold-0", both), ("dailydialog", "open", written)):
            texts = [s.text for s in sets[corpus]]
            mine, as_written = (
                posteriors(judged.of_texts(self.place, part, name, texts, spoken)).argmax(1)
                for name, spoken in ((f"{corpus}-spoken", True), (corpus, False))
            )
            found = _texts(sets[corpus], mine, "ua")
            theirs = _texts(sets[corpus], probe(texts), "ua")["value"]
            truth = np.array([CLASSES.index(str(s.label)) for s in sets[corpus]])
            recalls = [round(100 * float(r), 1) for r in metrics.recalls(truth, mine, len(CLASSES))]
            what = (
                "EmoryNLP, never trained on"
                if corpus == "emorynlp"
                else "DailyDialog, learned from GoEmotions"
            )
            more = {"probe": theirs, "recalls": recalls}
            lines.append(Figure("words", f"words: {what}, UA", **found, more=more))
            alike = _texts(sets[corpus], as_written, "ua")
            lines.append(Figure("words", f"words: {what}, taken as only written, UA", **alike))
            gap = found["value"] - theirs
            lines.append(Figure("words", f"words: {what}, over the probe", gap, n=len(truth), bar=2.0))
            lines.append(
                Figure("words", f"words: {what}, least recall", min(recalls), n=len(truth), bar=25.0)
            )
        return lines

    def recognised(self) -> list[Figure]:
        """Sentences that espeak speaks and the recogniser in the box writes, for those that are written."""
        dev = sentences.four(sentences.read(self.place.data, "dev"))
        order = drawn("recognised").permutation(len(dev))
        rows = [dev[i] for i in order if len(sentences.plain(dev[i].text).split()) >= 3][:RECOGNISED]
        texts = [sentences.plain(row.text) for row in rows]
        kept = self.place.run / "assessment" / f"recognised-{fingerprint(texts)}.json"
        if not kept.is_file():
            write_json(kept, _recognised(texts))
        heard = json.loads(kept.read_text(encoding="utf-8"))
        values = {}
        for name, given in (("written", [row.text for row in rows]), ("recognised", heard)):
            answers = judged.of_texts(self.place, "fold-0", f"{name}-{RECOGNISED}", given, spoken=True)
            values[name] = _texts(rows, posteriors(answers).argmax(1), "ua")["value"]
        lost = values["written"] - values["recognised"]
        what = "words: UA lost by recognised words of synthesised speech"
        return [Figure("words", what, lost, n=len(rows), bar=6.0, at_least=False, more=values)]

    def paired(self) -> list[Figure]:
        """Same-class pairs: the fusion is worked out from both sides' posteriors, as the system does."""
        dev = sentences.four(sentences.read(self.place.data, "dev"))
        said = posteriors(judged.of_texts(self.place, "fold-0", "dev-as written", [s.text for s in dev]))
        labels = np.array([CLASSES.index(str(s.label)) for s in dev])
        own = self.of("ravdess", "emodb", classed=True)
        fold_of = {i: k for k, fold in enumerate(folds_of(self.known, own)) for i in fold}
        speech, text, truth, fused = [], [], [], []
        weights = {k: _fusion(self.place, f"fold-{k}") for k in set(fold_of.values())}
        for i in own:
            balance, shift = weights[fold_of[i]]
            dice = drawn("pairs", self.known[i].id)
            for j in dice.choice(np.flatnonzero(labels == self.truth[i]), PAIRINGS, replace=False):
                heard = np.log(np.array(self.clean[i].posterior) + 1e-9)
                read = np.log(said[j] + 1e-9)
                speech.append(heard)
                text.append(read)
                truth.append(self.truth[i])
                fused.append(balance[0] * heard + balance[1] * read + shift)
        right = np.array(truth)
        scores = {
            name: 100 * metrics.ua(right, np.array(values).argmax(1), len(CLASSES))
            for name, values in (
                ("speech", speech), ("words", text), ("fused", fused),
                ("product", [a + b for a, b in zip(speech, text, strict=True)]),
            )
        }  # fmt: skip
        better = max(scores["speech"], scores["words"])
        n = len(right)
        return [
            Figure("pairs", "pairs: UA of the fusion", scores["fused"], n=n, more=scores),
            Figure("pairs", "pairs: over the better side", scores["fused"] - better, n=n, bar=8.0),
            Figure(
                "pairs", "pairs: over the product rule", scores["fused"] - scores["product"], n=n, bar=-1.0
            ),
        ]

    def sure(self) -> list[Figure]:
        lines = []
        for title, answers, index, bar in (
            ("within", self.clean, self.of(*ACTED, classed=True), 5.0),
            ("corpus left out", self.far, self.of(*ACTED, classed=True), 12.0),
            *((f"left out: {TITLES[c]}", self.far, self.of(c, classed=True), None) for c in ACTED),
        ):
            values = posteriors([answers[i] for i in index])
            values /= values.sum(1, keepdims=True)
            error = 100 * metrics.ece(self.truth[index], values, BINS)
            floor = 100 * metrics.ece_floor(values, BINS)
            what = f"calibration error, {title}"
            lines.append(
                Figure("sure", what, error, n=len(index), bar=bar, at_least=False, more={"floor": floor})
            )
        return lines

    def abstaining(self) -> list[Figure]:
        lines = []
        for corpus in ACTED:
            own = self.of(corpus, classed=True)
            share = _percent([self.clean[i].abstained for i in own])
            what = f"{TITLES[corpus]}, unseen speakers: abstained, %"
            lines.append(Figure("abstains", what, share, n=len(own), bar=15.0, at_least=False))
            silent = _percent([self.far[i].abstained for i in own])
            given = [i for i in own if not self.far[i].abstained]
            values = posteriors([self.far[i] for i in given])
            right = _percent(values.argmax(1) == self.truth[given])
            sure = _percent(values.max(1))
            what = f"{TITLES[corpus]}, left out: accuracy of what it answers less its confidence"
            more = {"abstained": silent, "accuracy": right, "confidence": sure}
            lines.append(Figure("abstains", what, right - sure, n=len(given), bar=-5.0, more=more))
        for kind, answers in judged.of_sounds(self.place, "fold-0").items():
            share = _percent([answer.abstained for answer in answers])
            least = None if kind == "laughter" else 95.0
            lines.append(
                Figure("abstains", f"generated {kind}: abstained, %", share, n=len(answers), bar=least)
            )
        return lines

    def breakdown(self) -> list[Figure]:
        lines = []
        for corpus in ACTED:
            for sex, title in (("f", "women"), ("m", "men")):
                own = [i for i in self.of(corpus, classed=True) if self.known[i].sex[:1] == sex]
                if own:
                    found = self.ua(own, posteriors([self.clean[i] for i in own]).argmax(1))
                    lines.append(
                        Figure("groups", f"{TITLES[corpus]} ({LANGUAGES[corpus]}): {title}, UA", **found)
                    )
        return [*lines, *self._by_duration()]

    def _by_duration(self) -> list[Figure]:
        """Over all three corpora, by seconds of speech."""
        heard = pooled.clips(self.known, self.place.recipe.hearing, self.place.heard)
        clean = heard.variant == 0
        seconds = np.bincount(heard.clip[clean], heard.samples[clean], len(self.known)) / audio.RATE
        lines = []
        for least, most, title in DURATIONS:
            own = [i for i in self.of(*ACTED, classed=True) if least <= seconds[i] < most]
            if own:
                found = self.ua(own, posteriors([self.clean[i] for i in own]).argmax(1))
                lines.append(Figure("groups", f"{title} of speech, UA", **found))
        return lines


def _percent(values: Sequence[Any] | NDArray[Any]) -> float:
    return 100 * float(np.mean(values)) if len(values) else 0.0


def _spread(interval: significance.Interval) -> dict[str, Any]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: round(100 * float(value), 2) for name, value in values.items()}


def _texts(rows: Sequence[sentences.Sentence], guessed: NDArray[Any], name: str) -> dict[str, Any]:
    truth = np.array([CLASSES.index(str(row.label)) for row in rows])
    units = [f"{n}" for n in range(len(rows))]
    tallies = significance.tally(truth, guessed, units, len(CLASSES))
    return _spread(significance.interval(tallies, name)) | {"n": len(rows)}


def _recognised(texts: Sequence[str]) -> list[str]:
    """What the recogniser in the box writes of each text, spoken by espeak; "…" where it hears no words."""
    from undertone.espeak import synthesise
    from undertone.judging.asr import Recogniser

    recogniser, found = Recogniser(), []
    for text in texts:
        said = synthesise(text)
        words = recogniser.transcribe(audio.resample(said.wave, said.rate, audio.RATE))
        found.append(words.text if words is not None and words.text else "…")
    return found


def _fusion(place: Place, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    from safetensors.numpy import load_file

    tensors = load_file(place.part(part) / "model" / "model.safetensors")
    return tensors["head.balance"].astype(float), tensors["head.shift"].astype(float)


def _minilm(place: Place) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """The mean of MiniLM's vectors of each text; what was asked once is kept in memory."""
    from undertone.features.config import TextConfig
    from undertone.features.text import build

    known: dict[str, NDArray[np.float32]] = {}

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        encoder = build(TextConfig(name=place.recipe.text.encoder, precision="fp32"))
        new = sorted({text for text in texts if text not in known}, key=len)
        for first in range(0, len(new), 64):
            part = new[first : first + 64]
            known.update((t, e.vectors.mean(0)) for t, e in zip(part, encoder.encode(part), strict=True))
        return np.stack([known[text] for text in texts])

    return encode
