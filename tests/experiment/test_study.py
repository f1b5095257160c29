"""A study of somebody's own clips: what is taken for what, refused and planned; and a whole one."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trees.sound import noise
from undertone import audio, splits
from undertone import manifest as manifests
from undertone.errors import AudioError, ConfigError, LabelError, ProtocolError
from undertone.experiment.crossval import Crossval
from undertone.experiment.prepare import prepare
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.recognised import recognised
from undertone.experiment.study import run as stages
from undertone.experiment.study.clips import Choices, read_clips
from undertone.experiment.study.look import Survey, refuse, survey
from undertone.experiment.study.names import emotions_of, speaker_in
from undertone.experiment.study.plan import (
    Speed,
    StudyPlan,
    budget_seconds,
    keep_plan,
    kept_plan,
    plan_study,
    write_recipes,
)
from undertone.experiment.study.run import study
from undertone.experiment.study.voices import by_voices, clusters, voices_alone
from undertone.judging.clip import Transcript
from undertone.manifest import Manifest, Meta
from undertone.store import Store
from undertone.types import Utterance

SPEAKERS, CLASSES = ("spk1", "spk2", "spk3", "spk4"), ("angry", "happy")


def folder(root: Path, pattern: str = "{label}/{speaker}_{n}.wav", each: int = 4) -> Path:
    """Recordings of noise, each another one, named by a pattern."""
    seed = 0
    for speaker in SPEAKERS:
        for label in CLASSES:
            for n in range(each):
                noise(root / pattern.format(label=label, speaker=speaker, n=n), seed=seed)
                seed += 1
    return root


def utterances(speakers: int = 4, each: int = 4, text: str | None = None) -> list[Utterance]:
    return [
        Utterance(
            f"{s}-{label}-{n}", f"/x/{s}-{label}-{n}.wav", start=0.0, end=1.0, speaker=f"s{s}", label=label,
            text=text and text.format(n=n, label=label),
        )
        for s in range(speakers)
        for label in CLASSES
        for n in range(each)
    ]  # fmt: skip


def manifest(rows: list[Utterance]) -> Manifest:
    return Manifest(Path("m.jsonl"), tuple(rows), Meta("table"))


# ---- what is taken for what -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "{label}/{speaker}_{n}.wav",
        "{speaker}/{label}/{n}.wav",
        "{label}/{speaker}/{n}.wav",
        "{speaker}_{label}_{n}.wav",
        "day1/{speaker}-{n}-{label}.wav",
    ],
)
def test_labels_and_speakers_are_recognised_in_folders_and_names(tmp_path: Path, pattern: str) -> None:
    clips = read_clips(folder(tmp_path, pattern), Choices())
    assert Counter(u.label for u in clips.utterances) == dict.fromkeys(CLASSES, 16)
    assert Counter(u.speaker for u in clips.utterances) == dict.fromkeys(SPEAKERS, 8)
    assert any("--label-from" in line for line in clips.guesses)
    assert any("--speaker-from" in line for line in clips.guesses)


def test_a_shown_guess_is_an_option_that_gives_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path, "{speaker}_{label}_{n}.wav")
    clips = read_clips(root, Choices())
    (line,) = [line for line in clips.guesses if "--label-from" in line]
    pattern = line.partition("--label-from '")[2].rpartition("'")[0]
    again = read_clips(root, Choices(label_from=pattern, speaker_from=r"^([^_]+)_"))
    assert [(u.id, u.label, u.speaker) for u in again.utterances] == [
        (u.id, u.label, u.speaker) for u in clips.utterances
    ]


def test_folders_of_unknown_words_are_labels_unless_they_name_speakers(tmp_path: Path) -> None:
    clips = read_clips(folder(tmp_path / "a", "mood-{label}x/{speaker}_{n}.wav"), Choices())
    assert {u.label for u in clips.utterances} == {"mood-angryx", "mood-happyx"}
    with pytest.raises(LabelError, match="--label-from folder takes sub-folders"):
        read_clips(folder(tmp_path / "b", "{speaker}/{n}{label}x.wav"), Choices())
    chosen = read_clips(tmp_path / "b", Choices(label_from="folder", speaker_from=r"(\d)"))
    assert {u.label for u in chosen.utterances} == set(SPEAKERS)


def test_options_that_do_not_fit_are_explained(tmp_path: Path) -> None:
    root = folder(tmp_path)
    with pytest.raises(ConfigError, match="not a regular expression"):
        read_clips(root, Choices(speaker_from="("))
    with pytest.raises(ConfigError, match=r"32 of 32 paths do not match, first 'angry/spk1_0.wav'"):
        read_clips(root, Choices(speaker_from="actor(.)"))
    with pytest.raises(LabelError, match="joy: no clip has that label"):
        read_clips(root, Choices(label_map={"joy": "happy"}))
    mapped = read_clips(root, Choices(label_map={"happy": "joyful"}))
    assert {u.label for u in mapped.utterances} == {"angry", "joyful"}


def test_labels_that_differ_in_capitals_and_spaces_are_one_class(tmp_path: Path) -> None:
    root = folder(tmp_path)
    rows = [f"{p.relative_to(root)};{p.parent.name};{p.stem[:4]}" for p in sorted(root.rglob("*.wav"))]
    rows[3] = rows[3].replace(";angry;", "; ANGRY;")
    for n in (20, 21, 22):
        rows[n] = rows[n].replace(";happy;", ";Happy ;")
    (root / "c.csv").write_text("path;label;speaker\n" + "\n".join(rows) + "\n")
    clips = read_clips(root / "c.csv", Choices())
    assert Counter(u.label for u in clips.utterances) == dict.fromkeys(CLASSES, 16)
    assert clips.guesses[-1] == "labels: 'ANGRY' is 'angry', 'Happy' is 'happy'"


def test_words_beside_the_recordings_are_read(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for path in root.rglob("*.wav"):
        path.with_suffix(".txt").write_text("I know")
    assert {u.text for u in read_clips(root, Choices()).utterances} == {"I know"}


def table(root: Path, names: tuple[str, str, str], suffix: str = "csv") -> Path:
    """Clips in a table whose columns have these names for the recording, the label and the speaker."""
    folder(root / "sounds", "{speaker}{label}{n}.wav")
    rows = [
        dict(zip(names, (f"sounds/{s}{label}{n}.wav", label, s), strict=True)) | {"mark": n, "says": "I know"}
        for s in SPEAKERS
        for label in CLASSES
        for n in range(4)
    ]
    path = root / f"clips.{suffix}"
    if suffix == "parquet":
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "names",
    [
        ("path", "label", "speaker"),
        ("file", "Emotion", "actor_id"),
        ("wav", "what", "client_id"),
        ("Datei", "Gefühl", "Sprecher"),
    ],
)
def test_a_tables_columns_are_recognised(tmp_path: Path, suffix: str, names: tuple[str, str, str]) -> None:
    clips = read_clips(table(tmp_path, names, suffix), Choices())
    assert Counter(u.label for u in clips.utterances) == dict.fromkeys(CLASSES, 16)
    assert {u.speaker for u in clips.utterances} == set(SPEAKERS)
    assert f"{names[1]}{' → label' if names[1] != 'label' else ''}" in clips.guesses[0]


def test_a_column_that_the_user_names_goes_before_those_recognised(tmp_path: Path) -> None:
    path = table(tmp_path, ("path", "label", "speaker"))
    clips = read_clips(path, Choices(label_from="mark", speaker_from="speaker", columns={"says": "text"}))
    assert {u.label for u in clips.utterances} == {"0", "1", "2", "3"}
    assert {u.extra["other_label"] for u in clips.utterances} == set(CLASSES)
    assert {u.text for u in clips.utterances} == {"I know"}
    with pytest.raises(ConfigError, match="--speaker-from: no column 'speakr': did you mean 'speaker'"):
        read_clips(path, Choices(speaker_from="speakr"))
    with pytest.raises(LabelError, match="--label-from COLUMN names it"):
        read_clips(table(tmp_path / "b", ("path", "x", "y")), Choices(columns={"x": "text"}))


def test_words_of_names() -> None:
    assert emotions_of(["x_ANG_1", "angles", "angry_then_sad", "anna Wut 3"]) == ["ANG", None, None, "Wut"]
    assert speaker_in("clips/Actor_03/x.wav") == "actor_03"
    assert speaker_in("loudspeaker3.wav") is None and speaker_in("actors/x.wav") is None


def test_short_codes_and_common_words_are_no_labels_inside_names(tmp_path: Path) -> None:
    assert emotions_of(["ps", "cal", "ira"]) == ["ps", "cal", "ira"], "as whole names"
    assert emotions_of(["ps_02_angry", "ira_mad_sad", "cal_3", "bang-4"]) == ["angry", "sad", None, None]
    assert emotions_of(["joy_02_angry", "joy_03_sad"]) == ["angry", "sad"], "Joy is the speaker"
    clips = read_clips(folder(tmp_path, "{speaker}_joy_ps_{label}_{n}.wav"), Choices())
    assert {u.label for u in clips.utterances} == set(CLASSES)


def test_folders_of_several_speakers_with_one_word_are_one_class(tmp_path: Path) -> None:
    """As in TESS: ``OAF_Fear``, ``YAF_fear``; what only one folder is called stays as it is."""
    for seed, (name, n) in enumerate(
        (name, n)
        for name in ("OAF_Fear", "YAF_fear", "OAF_Pleasant_surprise", "YAF_pleasant_surprised")
        for n in range(3)
    ):
        noise(tmp_path / name / f"{n}.wav", seed=seed)
    clips = read_clips(tmp_path, Choices(speaker_from="([A-Z]+)_"))
    assert Counter(u.label for u in clips.utterances) == {"fearful": 6, "surprised": 6}
    assert any("'OAF_Fear' is fearful" in line for line in clips.guesses)
    kept = read_clips(tmp_path, Choices(label_from="folder", speaker_from="([A-Z]+)_"))
    assert len({u.label for u in kept.utterances}) == 4


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (lambda u: replace(u, speaker=None), ProtocolError, "clips have no speaker.*--speaker-from"),
        (lambda u: replace(u, speaker="one"), ProtocolError, "1 speaker who share no .* 3 are needed"),
        (lambda u: replace(u, speaker=u.label), ProtocolError, "3 are needed"),
        (lambda u: replace(u, speaker=f"{u.label}{u.id[0]}"), ProtocolError, "one class alone"),
        (lambda u: replace(u, label="angry"), LabelError, "1 class .angry.: at least two"),
        (
            lambda u: replace(u, label="sad") if u.id == "0-happy-0" else u,
            LabelError,
            "'sad' has 1 clip,.*=OTHER",
        ),
        (lambda u: replace(u, label="anrgy") if u.id == "0-angry-0" else u, LabelError, "anrgy=angry joins"),
        (
            lambda u: replace(u, label="angryy") if u.id == "0-angry-0" else u,
            LabelError,
            "did you mean 'angry'.*--label-map angryy=OTHER",
        ),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_the_way_out(change, error, why) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=why):
        refuse(manifest([change(u) for u in utterances()]))
    refuse(manifest(utterances()))


def test_the_way_out_names_a_pattern_that_works() -> None:
    rows = [
        replace(u, speaker=None, audio=f"/clips/{u.speaker}_{u.label}_{n:03}.wav", id=f"{n}")
        for n, u in enumerate(utterances())
    ]
    with pytest.raises(ProtocolError) as refused:
        refuse(manifest(rows))
    pattern = str(refused.value).partition("--speaker-from '")[2].partition("' would give 4")[0]
    import re

    assert {re.search(pattern, u.audio)[1] for u in rows} == {"s0", "s1", "s2", "s3"}  # type: ignore[index]


def test_names_with_spaces_have_a_way_out_too() -> None:
    rows = [
        replace(u, speaker=None, audio=f"/clips/{u.label} {u.speaker} {n:03}.wav", id=f"{n}")
        for n, u in enumerate(utterances())
    ]
    with pytest.raises(ProtocolError, match="would give 4"):
        refuse(manifest(rows))


def test_few_clips_are_refused() -> None:
    with pytest.raises(ProtocolError, match="below 20 no figure"):
        refuse(manifest(utterances(speakers=3, each=2)[:12] + utterances(speakers=3, each=2)[12:]))


# ---- what is planned ------------------------------------------------------------------------------------

FAST, SLOW = Speed(0.001, 0.1), Speed(1.0, 10.0)


def looked(**changes: object) -> Survey:
    known = Survey(
        clips=600, seconds=1800.0, classes={"angry": 300, "happy": 300},
        speakers={f"s{i}": 60 for i in range(10)},
        groups=10, by_voice=False, worded=600, sentences=500, language="en", fixed=False, timed=0,
    )  # fmt: skip
    return replace(known, **changes)  # type: ignore[arg-type]


def plan(survey: Survey, budget: float = 600, speed: Speed = FAST, timed: bool = True) -> StudyPlan:
    return plan_study(survey, budget, speed, 2, timed=timed)


def test_what_the_words_allow() -> None:
    assert {"text", "concat", "unison"} <= set(plan(looked()).names)
    for change, why in (
        ({"worded": 0, "language": ""}, "have words"),
        ({"fixed": True, "sentences": 2}, "the same 2 sentences are spoken"),
        ({"fixed": True, "sentences": 1}, "the one sentence is spoken"),
        ({"language": "pl"}, "another language"),
    ):
        made = plan(looked(**change))
        assert not {"text", "concat", "unison"} & set(made.names)
        assert any(why in line for line in made.left_out), made.left_out
    assert "unison" not in plan(looked(clips=100, worded=100)).names
    assert any("'align'" in line for line in plan(looked(), timed=False).left_out)


def test_the_budget_decides_how_much() -> None:
    long, middle, short = (plan(looked(), budget, Speed(0.05, 1.0)) for budget in (40_000, 1_000, 60))
    assert long.seeds == 5 and "speech-top2" in long.names and long.folds == 9
    assert middle.seeds == 1 and "speech-top2" not in middle.names
    assert short.folds == 5 and short.names[:2] == ["probe", "speech"]
    assert long.total > middle.total and middle.total <= 1_000
    beyond = plan(looked(), 1, SLOW)
    assert beyond.names == ["probe", "speech", "text"] and "beyond" in beyond.left_out[-1]
    assert plan(looked(groups=4)).folds == 4, "one speaker a fold"


def test_a_study_that_goes_on_keeps_its_plan(tmp_path: Path) -> None:
    made = plan(looked(), 40_000)
    keep_plan(tmp_path / "plan.json", "these clips", made)
    assert kept_plan(tmp_path / "plan.json", "these clips") == made
    assert kept_plan(tmp_path / "plan.json", "others") is None
    (tmp_path / "plan.json").write_text("{}")
    assert kept_plan(tmp_path / "plan.json", "") is None and kept_plan(tmp_path / "none", "") is None


def test_a_budget_is_a_time() -> None:
    assert [budget_seconds(text) for text in ("90s", "10m", "1.5h")] == [90, 600, 5400]
    for text in ("10", "m", "0m", "", "ten"):
        with pytest.raises(ConfigError, match="as 10m, 1h or 8h"):
            budget_seconds(text) if text != "0m" else budget_seconds("m")


def test_the_choices_are_ordinary_recipes(tmp_path: Path) -> None:
    made = plan(looked(), 40_000)
    recipes = write_recipes(made, tmp_path / "clips.jsonl", tmp_path, "whisper-tiny.en")
    assert [recipe.title for recipe in recipes] == made.names
    for recipe in recipes:
        read = load_recipe(tmp_path / "recipes" / f"{recipe.title}.toml")
        assert read == recipe
        assert (read.protocol.split, read.protocol.folds, read.protocol.transcripts) == (
            "kfold-speaker", 9, "whisper-tiny.en",
        )  # fmt: skip
    tuned = next(recipe for recipe in recipes if recipe.speech.tuned)
    assert tuned.training.warm == (tmp_path / "runs" / "speech-frozen").as_posix()


def test_the_final_tuned_model_begins_with_the_final_frozen_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = write_recipes(plan(looked(), 40_000), tmp_path / "clips.jsonl", tmp_path)
    made: list[str] = []

    def trained(some: Sequence[Recipe], *_: object, **__: object) -> Crossval:
        made.extend(recipe.title for recipe in some)
        return Crossval((), ())

    monkeypatch.setattr(stages, "crossval", trained)
    by_name = {recipe.title: recipe for recipe in recipes}
    room = stages._Room(tmp_path, Store(tmp_path / "store"), 1, print)
    for name in ("speech-top2", "speech"):
        stages._final(by_name[name], recipes, room)
    assert made == ["speech-frozen", "speech-top2", "speech"]


# ---- voices and words -----------------------------------------------------------------------------------


def tone(path: Path, pitch: float, formant: float, seed: int) -> None:
    """A buzz of a pitch through a resonance: a voice of its own."""
    import soundfile
    from scipy.signal import lfilter

    random = np.random.default_rng(seed)
    phase = np.cumsum(np.full(16_000, pitch * (1 + 0.02 * random.standard_normal()) / 16_000))
    pulses = (np.diff(np.floor(phase), prepend=0) > 0).astype(float) + 0.003 * random.standard_normal(16_000)
    wave = lfilter([1], [1, -1.8 * np.cos(2 * np.pi * formant / 16_000), 0.81], pulses)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (0.3 * wave / np.abs(wave).max()).astype(np.float32), 16_000)


def test_like_voices_become_speakers_and_every_figure_is_stamped(tmp_path: Path) -> None:
    voices = [(100, 500), (150, 1500), (220, 2500), (300, 3500)]
    rows = []
    for v, (pitch, formant) in enumerate(voices):
        for n in range(6):
            path = tmp_path / f"{v}-{n}.wav"
            tone(path, pitch, formant, 10 * v + n)
            rows.append(Utterance(f"{v}-{n}", str(path), label=CLASSES[n % 2]))
    made = by_voices(rows)
    pairs = {(u.id[0], u.speaker) for u in made}
    assert 4 <= len(pairs) == len({speaker for _, speaker in pairs}) <= 6, "no cluster holds two voices"
    split = splits.make(made, "kfold-speaker", folds=3)
    assert splits.CLUSTERED in split.stamps
    assert len(set(clusters(np.random.default_rng(0).normal(size=(40, 9)), 5))) == 5


def test_clusters_are_of_voices_and_not_of_emotions() -> None:
    """Where a class shifts every voice further than voices differ."""
    rng = np.random.default_rng(0)
    voices, emotions = rng.normal(size=(4, 9)), 5 * rng.normal(size=(3, 9))
    who, what = np.repeat(np.arange(4), 30), np.tile(np.arange(3), 40)
    vectors = voices[who] + emotions[what] + rng.normal(scale=0.1, size=(120, 9))
    pairs = set(zip(who, clusters(voices_alone(vectors, [f"e{k}" for k in what]), 4), strict=True))
    assert len(pairs) == 4 == len({cluster for _, cluster in pairs})
    assert len(set(zip(who, clusters(vectors, 4), strict=True))) > 4, "without that, emotions decide"


def test_recognition_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(tmp_path / "a.wav")
    rows = [replace(u, audio=str(tmp_path / "a.wav"), start=None, end=None) for u in utterances(each=1)]
    rows[0] = replace(rows[0], text="given", text_source="gold")
    calls: list[str] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def transcripts(self, waves: list[object], names: list[str]) -> list[Transcript | None]:
            if len(calls) == 4:
                raise KeyboardInterrupt
            calls.extend(names)
            return [None if n == rows[1].id else Transcript(f"words of {n}", self.name) for n in names]

    monkeypatch.setattr("undertone.experiment.recognised.TOGETHER", 2)
    monkeypatch.setattr("undertone.experiment.recognised.Recogniser", Fake)
    with pytest.raises(KeyboardInterrupt):
        recognised(rows, "fake", tmp_path / "journal")
    before = list(calls)
    calls[:] = []
    monkeypatch.setattr(
        "undertone.experiment.recognised.Recogniser.transcripts",
        lambda self, waves, names: (
            calls.extend(names) or [Transcript(f"words of {n}", "fake") for n in names]
        ),
    )
    done = recognised(rows, "fake", tmp_path / "journal")
    assert len(before) == 4 and not set(before) & set(calls) and len(calls) == len(rows) - 5
    assert done[0].text == "given" and done[1].text is None
    assert done[2].text == f"words of {rows[2].id}" and done[2].text_source == "fake"


def test_a_survey_sees_sentences_that_every_class_has() -> None:
    assert survey(manifest(utterances(text="sentence {n}"))).fixed
    own = survey(manifest(utterances(text="I am so {label} today {n}")))
    assert not own.fixed and own.language == "en" and own.sentences == 8
    assert survey(manifest(utterances(text="Ich bin heute nicht {label} {n}"))).language == "not en"


# ---- the whole ------------------------------------------------------------------------------------------


def demo_folder(root: Path) -> Path:
    """Synthesised clips as somebody would keep them: folders of classes, the speaker in each name."""
    pytest.importorskip("espeakng_loader")
    prepare("demo", root / "corpus", root / "corpus.jsonl", options={"size": 64, "workers": 1})
    for u in manifests.read(root / "corpus.jsonl").resolved():
        place = root / "mine" / str(u.label) / f"speaker{u.speaker}_{u.id.replace('/', '-')}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(u.audio)
        place.with_suffix(".txt").write_text(u.text or "")
    return root / "mine"


@pytest.fixture
def acoustic(monkeypatch: pytest.MonkeyPatch) -> None:
    """No encoders in the box: acoustic frames and small networks, in seconds."""
    monkeypatch.setattr("undertone.packed.find", lambda name: None)
    monkeypatch.setattr("undertone.experiment.study.run.measured_speed", lambda: 1.0)


def test_a_dry_run_prints_the_plan_of_its_budget_and_trains_nothing(tmp_path: Path, acoustic: None) -> None:
    mine, lines = folder(tmp_path / "clips"), []
    plans = {
        budget: study(
            mine,
            tmp_path / "out",
            budget=budget_seconds(budget),
            store=Store(tmp_path / "store"),
            plan_only=True,
            say=lines.append,
        ).plan
        for budget in ("1s", "1h", "8h")
    }
    assert [plan.seeds for plan in plans.values()] == [1, 3, 5]
    assert any("of a budget of 8 h 0 min" in line for line in lines)
    assert any(line.startswith("folds: 4 of speakers, each tests one speaker, 5 seeds") for line in lines)
    assert not (tmp_path / "out" / "runs").exists() and not (tmp_path / "out" / "study.json").exists()
    assert not (tmp_path / "out" / "plan.json").exists(), "a study later may find the machine faster"


def test_silence_around_speech_is_left_out_as_predict_leaves_it_out(
    tmp_path: Path, acoustic: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loud:
        def __call__(self, steps: np.ndarray) -> np.ndarray:
            return (np.abs(steps).max(-1) > 0.01).astype(np.float32)

    monkeypatch.setattr("undertone.judging.windows.detector", Loud)
    mine = folder(tmp_path / "clips")
    for file in mine.rglob("*.wav"):
        wave = audio.load(file)
        audio.save(file, np.concatenate([np.zeros(16000, np.float32), wave, np.zeros(16000, np.float32)]))
    study(mine, tmp_path / "out", store=Store(tmp_path / "store"), plan_only=True)
    kept = manifests.read(tmp_path / "out" / "clips.jsonl").utterances
    assert kept and all(u.start is not None and u.start > 0.8 and u.duration for u in kept)


def test_a_table_whose_paths_lead_nowhere_is_explained(tmp_path: Path) -> None:
    rows = "".join(f"{s}-{n}.wav,{'angry' if n % 2 else 'happy'},{s}\n" for s in "abc" for n in range(9))
    (tmp_path / "mine.csv").write_text(f"file,emotion,speaker\n{rows}", encoding="utf-8")
    why = r"none of the 27 recordings can be read, the first: .*a-0.wav.*; --audio-root FOLDER names where"
    with pytest.raises(AudioError, match=why):
        study(tmp_path / "mine.csv", tmp_path / "out", plan_only=True)


def test_a_stopped_study_goes_on_with_its_plan_and_what_is_trained(
    tmp_path: Path, acoustic: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, out, store = folder(tmp_path / "clips"), tmp_path / "out", Store(tmp_path / "store")
    total: list[int] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(mine, out, budget=1, processes=1, store=store, start=lambda j: total.append(len(j)), watch=stop)
    runs = out / "runs"
    trained = {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.json")}
    assert 0 < len(trained) < total[0] and not (out / "report.html").exists()
    monkeypatch.setattr("undertone.experiment.study.run.measured_speed", stop)
    ended: list[str] = []
    done = study(
        mine, out, budget=1, processes=1, store=store, watch=lambda job, failure: ended.append(job.name)
    )
    assert trained.items() <= {path: path.stat().st_mtime_ns for path in runs.rglob("metrics.json")}.items()
    assert len(ended) == total[0] - len(trained) and not done.failures
    assert (out / "report.html").is_file() and (out / "final" / "model.safetensors").is_file()
    assert f"<b>{done.chosen}</b> recognises" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow  # a corpus, its features and three systems: two minutes of two free cores
@pytest.mark.timeout(1800)
def test_one_command_from_clips_to_a_report_and_a_model_that_goes_on_where_it_was(tmp_path: Path) -> None:
    from undertone.judging.predictor import load

    mine = demo_folder(tmp_path)
    doubled = sorted(mine.rglob("*.wav"))[0]
    (doubled.with_name("speaker99_copy.wav")).symlink_to(doubled.resolve())
    lines: list[str] = []
    out, store = tmp_path / "out", Store(tmp_path / "store")
    done = study(mine, out, store=store, budget=30, processes=2, say=lines.append)
    assert any("the same recording under several labels or speakers" in line for line in done.left_out)
    assert {result.name for result in done.results} >= {"probe", "speech", "text"}
    assert done.chosen in {"probe", "speech", "concat", "unison"}
    assert (out / "report.html").stat().st_size > 10_000
    kept = json.loads((out / "study.json").read_text())
    assert kept["plan"]["folds"] == done.plan.folds and kept["chosen"] == done.chosen
    assert load(out).predict(doubled).label in {"angry", "happy", "sad", "neutral"}
    written = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("metrics.json")}
    again = study(mine, out, store=store, budget=30, processes=2)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("metrics.json")} == written
    assert again.chosen == done.chosen
