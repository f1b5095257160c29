"""One fold after the other: what is left behind, and that the test side stays shut."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import LABELS, WORDS, Planted, corpus, done, planned, recipe, relabelled, retold

from undertone import manifest as manifests
from undertone.errors import ConfigError, LabelError, OutputError, ProtocolError
from undertone.evaluation import card as cards
from undertone.evaluation.results import evaluate
from undertone.experiment import examples
from undertone.experiment.crossval import crossval
from undertone.experiment.material import Features, open_material, read_corpus
from undertone.experiment.recipe import Recipe
from undertone.experiment.run import run_job
from undertone.experiment.single import train_one
from undertone.models import folder as models
from undertone.store import Store
from undertone.training.jobs import finished
from undertone.types import Alignment, Utterance


def figures(folder: Path) -> dict[str, float]:
    values: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return values


def test_the_planted_rule_is_found_on_the_test_fold(tmp_path: Path) -> None:
    folder = done(tmp_path, recipe(corpus(tmp_path)))
    assert figures(folder)["ua"] > 0.8
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 30 and {row["fold"] for row in rows} == {"session-0"}
    assert all(row["probabilities"][row["label"]] == row["confidence"] for row in rows)
    assert np.mean([row["label"] == row["truth"] for row in rows]) == figures(folder)["wa"]


def test_a_run_can_be_measured_loaded_and_is_not_done_twice(tmp_path: Path) -> None:
    made = recipe(corpus(tmp_path), "score")
    plan = planned(tmp_path, made)
    assert plan.final is not None
    for job in (*plan.jobs, plan.final):
        run_job(job)
        assert finished(job) and not list(job.folder.glob("*.part"))
    result = evaluate(plan.folder)
    assert result.seeds["ua"].mean > 0.8 and len(result.fold_names) == 3
    assert result.run.card.corpus == "planted" and result.run.card.split == plan.split.hash
    loaded = models.load(plan.final.folder)
    assert loaded.labels == LABELS and loaded.tokenizer is not None
    assert loaded.card["folds"]["mean"]["ua"] == pytest.approx(result.folds["ua"].mean)
    assert all(finished(job) for job in planned(tmp_path, made).jobs)
    assert not any(finished(job) for job in planned(tmp_path, made.but(["training.rate=0.02"])).jobs)


CHANGES = {
    "a word begins later": lambda u: replace(u, alignment=shifted(u, "start")),
    "a word ends earlier": lambda u: replace(u, alignment=shifted(u, "end")),
    "another turn": lambda u: replace(u, turn=(u.turn or 0) + 100),
    "another span": lambda u: replace(u, end=(u.end or 0) - 0.04),
    "another transcript": lambda u: replace(u, text=f"{u.text} indeed"),
    "another label": lambda u: replace(u, label="sad"),
}


def shifted(utterance: Utterance, which: str) -> Alignment:
    assert utterance.alignment is not None
    first, *rest = utterance.alignment.word
    times = {"start": first.start + 0.05} if which == "start" else {"end": first.end - 0.05}
    return Alignment((replace(first, **times), *rest))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_corpus_is_another_run(tmp_path: Path, what: str) -> None:
    path = corpus(tmp_path)
    before = prints(tmp_path, path)
    found = manifests.read(path)
    chosen = next(u for u in found.utterances if u.label == "angry")
    changed = [CHANGES[what](u) if u is chosen else u for u in found.utterances]
    manifests.write(path, changed, found.meta)
    assert not before & prints(tmp_path, path)


def test_classes_in_another_order_are_another_run(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    before = prints(tmp_path, path)
    found = manifests.read(path)
    manifests.write(path, found.utterances, replace(found.meta, classes=LABELS[::-1]))
    assert not before & prints(tmp_path, path)


def test_other_recordings_under_the_same_names_are_another_run(tmp_path: Path) -> None:
    path, features = corpus(tmp_path), Planted(tmp_path)
    before = prints(tmp_path, path, features)
    features.told = {"u003": "sad"}
    assert not before & prints(tmp_path, path, features)


def test_a_run_is_the_same_wherever_its_corpus_and_its_features_lie(tmp_path: Path) -> None:
    places = [tmp_path / name for name in "ab"]
    for place in places:
        place.mkdir()
    one, two = (prints(place, corpus(place)) for place in places)
    assert one == two


def prints(folder: Path, path: Path, features: Planted | None = None) -> set[str]:
    """What each job of a run of this manifest is known by."""
    return {job.fingerprint for job in planned(folder, recipe(path), features).jobs}


def test_a_label_that_the_set_does_not_know_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    relabelled(path, {"u004": "hapy"})
    with pytest.raises(LabelError, match=r"u004: unknown label 'hapy': did you mean 'happy'\?"):
        planned(tmp_path, recipe(path))


def test_random_labels_give_chance_within_the_interval(tmp_path: Path) -> None:
    path = corpus(tmp_path, 180)
    random = np.random.default_rng(1)
    relabelled(path, {f"u{i:03}": str(random.choice(LABELS)) for i in range(180)})
    features = Planted(tmp_path, strength=0.0)
    # the words still tell the old labels, which mean nothing now
    plan = planned(tmp_path, recipe(path), features)
    for job in plan.jobs:
        run_job(job)
    interval = evaluate(plan.folder).intervals["ua"]
    assert interval.low < 1 / 3 < interval.high


def test_a_label_leaked_into_the_test_fold_alone_gains_nothing(tmp_path: Path) -> None:
    """Training frames say nothing, test frames shout the label: a model that never saw them can't know.

    What it makes of the unknown differs from seed to seed, so four are averaged; the same leak on the
    training side as well would give it all of the labels.
    """
    path = corpus(tmp_path, words=False)
    made = recipe(path, "speech", "protocol.seeds=4", "training.epochs=4")
    tested = set(planned(tmp_path, made, Planted(tmp_path, 0.0)).split.folds[0].test)

    class Leaking(Planted):
        def frames(self, utterance, label):  # type: ignore[no-untyped-def]
            shout = 2.0 * (utterance.id in tested) * np.eye(4)[LABELS.index(label)]
            return (super().frames(utterance, label) + shout).astype(np.float32)

    def folders(name: str, features: Planted) -> list[Path]:
        jobs = [j for j in planned(tmp_path / name, made, features).jobs if j.fold == "session-0"]
        for job in jobs:
            run_job(job)
        return [job.folder for job in jobs]

    honest = folders("honest", Planted(tmp_path / "a", 0.0))
    leaking = folders("leaking", Leaking(tmp_path / "b", 0.0))
    gain = np.mean([figures(f)["ua"] for f in leaking]) - np.mean([figures(f)["ua"] for f in honest])
    assert gain < 0.25
    for one, two in zip(honest, leaking, strict=True):
        assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


def test_features_of_another_utterance_are_refused(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    features = Planted(tmp_path)
    own = features.frames
    features.frames = lambda u, label: own(u, label)[: 9 if u.id == "u004" else None]  # type: ignore[assignment,method-assign]
    features.shift = {"u001": "u004", "u004": "u001"}
    with pytest.raises(
        ProtocolError, match=r"u001: its features are of 0.36 s, the utterance of 0.80 s.*swapped"
    ):
        done(tmp_path, recipe(path), features)


def test_what_the_test_fold_says_never_reaches_training(tmp_path: Path) -> None:
    """Other words in the test fold: bit-identical weights, since pieces and embeddings are the fold's own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [corpus(tmp_path / name) for name in "ab"]
    tested = planned(tmp_path, recipe(paths[0])).split.folds[0].test
    retold(paths[1], dict.fromkeys(tested, "zebra quagga okapi " * 3))
    first, second = (done(path.parent, recipe(path)) for path in paths)
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    retold(paths[1], dict.fromkeys(sorted({f"u{i:03}" for i in range(90)})[:3], "zebra quagga okapi " * 3))
    third = done(paths[1].parent, recipe(paths[1]), fold=1)
    assert (third / "tokenizer.json").read_bytes() != (second / "tokenizer.json").read_bytes()


def test_the_test_side_is_not_made_before_the_system_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    made, opened = examples.examples, examples.Sealed.open
    plan = planned(tmp_path, recipe(corpus(tmp_path)))
    tested = set(plan.split.folds[0].test)

    def note(material, recipe_, utterances, tokenizer):  # type: ignore[no-untyped-def]
        order.append("test" if {u.id for u in utterances} <= tested else "other")
        return made(material, recipe_, utterances, tokenizer)

    def opening(self, final):  # type: ignore[no-untyped-def]
        order.append("open")
        return opened(self, final)

    monkeypatch.setattr(examples, "examples", note)
    monkeypatch.setattr(examples.Sealed, "open", opening)
    run_job(plan.jobs[0])
    assert order == ["other", "other", "open", "test"]


def test_the_test_side_opens_for_a_finished_system_only() -> None:
    with pytest.raises(ProtocolError, match="finished system"):
        examples.Sealed(lambda: None).open("please")  # type: ignore[arg-type,return-value]


def test_selection_on_test_trains_on_all_other_sessions_and_is_stamped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published codes' protocol: nobody but the test session is left out, and it chooses the epoch."""
    made = recipe(corpus(tmp_path), "concat", "protocol.selection=test")
    plan = planned(tmp_path, made)
    used: dict[str, list[str]] = {}
    monkeypatch.setattr("undertone.experiment.run.fit", fitting(used))
    run_job(plan.jobs[0])
    everyone = {u.id for u in read_corpus(made.manifest).utterances}
    tested = {i for i in everyone if int(i[1:]) % 3 == 0}
    assert set(used["train"]) == everyone - tested and set(used["validation"]) == tested
    card = cards.read(plan.folder)
    assert (card.selection, card.calibration) == ("test", "test")
    values = json.loads((plan.jobs[0].folder / "metrics.json").read_text())
    assert values["calibrated_on"] == "test"
    assert models.load(plan.jobs[0].folder).card["calibrated_on"] == "test"
    stamps = evaluate(plan.folder).warnings
    assert any("selected on test" in s for s in stamps) and any(
        "calibration was fitted on" in s for s in stamps
    )
    plain = cards.read(planned(tmp_path / "v", recipe(Path(made.manifest))).folder)
    assert (plain.selection, plain.calibration, plain.warnings) == ("validation", "validation", [])


def fitting(used: dict[str, list[str]]):  # type: ignore[no-untyped-def]
    """``fit`` that notes which utterances it is given."""
    from undertone.training.loop import fit

    def noting(system, train, validation, **options):  # type: ignore[no-untyped-def]
        used.update(train=train.ids, validation=validation.ids)
        return fit(system, train, validation, **options)

    return noting


def test_the_card_names_the_unit_and_speakers_as_units_are_stamped_but_train_nothing_again(
    tmp_path: Path,
) -> None:
    made = recipe(corpus(tmp_path), "speech")
    plain = planned(tmp_path, made)
    assert cards.read(plain.folder).unit == "session"
    named = planned(tmp_path, made.but(["protocol.unit=speaker"]))
    card = cards.read(named.folder)
    assert card.unit == "speaker" and any("speakers are the units" in s for s in card.stamps)
    assert [job.fingerprint for job in named.jobs] == [job.fingerprint for job in plain.jobs]


def test_refit_reports_both(tmp_path: Path) -> None:
    folder = done(tmp_path, recipe(corpus(tmp_path), "score", "protocol.refit=true"))
    values = figures(folder)
    assert {"wa", "ua"} <= set(values["before_refit"])  # type: ignore[arg-type]
    assert cards.read(folder.parents[1]).refit


def test_turns_of_a_dialogue_are_predicted_one_by_one(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    features = Planted(tmp_path)

    class Vectors(Planted):
        def __call__(self, recipe_, data):  # type: ignore[no-untyped-def]
            found = super().__call__(recipe_, data)
            keys = {}
            with self.store.writer() as writer:
                for u in data.utterances:
                    keys[u.id] = f"text-{u.id}".ljust(32, "0")
                    vectors = np.eye(3, dtype=np.float32)[[LABELS.index(u.label)]]
                    writer.put(keys[u.id], {"vectors": vectors, "chars": np.zeros((1, 2), np.int32)})
            return replace(found, text=keys, text_dim=3)

    made = recipe(path, "perspective").but(
        [
            *("protocol.level=dialogue", "model.level=dialogue", "text.name=vectors"),
            *("training.batch=4", "training.epochs=30", "training.patience=30"),
            *("model.perspective_inputs=logits", "model.width=16"),
        ]
    )
    folder = done(tmp_path, made, Vectors(tmp_path))
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 30 and features is not None
    assert figures(folder)["ua"] > 0.6
    material = open_material(folder.parents[1], made.manifest, everything=True)
    first, *rest = material.corpus.utterances
    speech = {u.id: material.features.speech[u.id] for u in rest}
    lacking = replace(material, features=replace(material.features, speech=speech))
    dialogues = examples.examples(lacking, made, (first, *rest), None)
    masks = [(e.ids, e.turn_present) for e in dialogues]
    without = [ids[i] for ids, mask in masks if mask is not None for i in np.flatnonzero(~mask.all(1))]
    assert without == [first.id], "a turn without speech is missing, not a vector of zeros"


@pytest.mark.parametrize(("turns", "count"), [("labelled", 20), ("all", 30)])
def test_a_dialogue_holds_the_turns_that_its_protocol_names(tmp_path: Path, turns: str, count: int) -> None:
    """A third of the turns have no label; what is left out is in no part, and the card states which."""
    path = corpus(tmp_path)
    found = manifests.read(path)
    several = [replace(u, label=None) if u.label == "sad" else u for u in found.utterances]
    manifests.write(path, several, found.meta)
    made = recipe(path, "perspective").but(
        ["protocol.level=dialogue", f"protocol.context_turns={turns}", "model.level=dialogue", "text.name=v"]
    )
    plan = planned(tmp_path, made)
    card = cards.read(plan.folder)
    assert (card.context, card.context_turns) == ("full", turns)
    assert sum(card.counts.values()) == 60
    material = open_material(plan.folder, made.manifest, everything=made.every_turn)
    parts = examples.fold_data(material, made, plan.split.folds[0].name)
    assert sum(len(dialogue.ids) for dialogue in parts.train.examples) == count


def test_a_whole_crossval_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Planted(tmp_path)
    monkeypatch.setattr("undertone.experiment.crossval._Shared.of", lambda self, r, c: features(r, c))
    path = corpus(tmp_path)
    seen: list[str] = []
    made = [recipe(path, name) for name in ("speech", "text")]
    ran = crossval(made, tmp_path / "runs", processes=2, watch=lambda job, failure: seen.append(job.name))
    assert ran.failures == () and len(seen) == 8
    again = crossval(made, tmp_path / "runs", processes=2, watch=lambda job, failure: seen.append("again"))
    assert "again" not in seen and again.runs == ran.runs
    assert evaluate(ran.runs[0]).seeds["ua"].mean > 0.8
    assert WORDS["sad"] in path.read_text()


@pytest.fixture
def whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A cross-validation in ``runs/speech`` that is finished; features need no encoder."""
    features = Planted(tmp_path)
    monkeypatch.setattr("undertone.experiment.crossval._Shared.of", lambda self, r, c: features(r, c))
    monkeypatch.setattr(
        "undertone.experiment.single.gather_features",
        lambda made, found, store: features(made, read_corpus(made.manifest)),
    )
    made = recipe(corpus(tmp_path), "speech", "training.epochs=2")
    assert not crossval([made], tmp_path / "runs").failures
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_train_writes_beside_a_finished_crossval_and_never_into_its_folds(
    tmp_path: Path, whole_run: Recipe
) -> None:
    run = tmp_path / "runs" / "speech"
    before, result = contents(run), evaluate(run)
    other = whole_run.but(["training.epochs=1", "protocol.split=lospo"])
    folder, metrics = train_one(other, tmp_path / "runs", Store(tmp_path / "store"))
    assert folder.parents[1] == run / "trial" and metrics["n"] > 0
    after = {name: data for name, data in contents(run).items() if not name.startswith("trial/")}
    assert after == before
    again = evaluate(run)
    assert again.plain() == result.plain() and again.run.headline == "3 folds"
    trial = evaluate(run / "trial")
    assert trial.name == "speech trial" and trial.run.headline.startswith("1 of 6 folds, unfinished: ")


def test_a_name_in_use_with_other_settings_is_refused_unless_it_is_to_be_replaced(
    tmp_path: Path, whole_run: Recipe
) -> None:
    run = tmp_path / "runs" / "speech"
    (run / "stress.json").write_text("{}")
    before = contents(run)
    other = whole_run.but(["training.rate=0.02", "protocol.split=kfold-speaker", "protocol.folds=3"])
    with pytest.raises(ConfigError, match=r"other settings \(protocol.split = loso, .*--over replaces"):
        crossval([other], tmp_path / "runs")
    assert contents(run) == before
    assert not crossval([other], tmp_path / "runs", over=True).failures
    assert evaluate(run).fold_names == ("fold-1", "fold-2", "fold-3")
    assert not (run / "session-0").exists() and not (run / "stress.json").exists()


def test_another_corpus_under_a_name_in_use_is_refused_but_one_that_moved_is_not(
    tmp_path: Path, whole_run: Recipe
) -> None:
    for name in ("moved", "other"):
        (tmp_path / name).mkdir()
    moved = whole_run.but([f"manifest={corpus(tmp_path / 'moved')}"])
    started: list[str] = []
    crossval([moved], tmp_path / "runs", watch=lambda job, failure: started.append(job.name))
    assert started == []
    other = whole_run.but([f"manifest={corpus(tmp_path / 'other', seed=5)}"])
    with pytest.raises(ConfigError, match="other settings"):
        crossval([other], tmp_path / "runs")


def test_a_trial_with_other_settings_is_refused_too(tmp_path: Path, whole_run: Recipe) -> None:
    store = Store(tmp_path / "store")
    train_one(whole_run, tmp_path / "runs", store)
    other = whole_run.but(["training.epochs=1"])
    with pytest.raises(ConfigError, match=r"training.epochs = 2"):
        train_one(other, tmp_path / "runs", store)
    train_one(other, tmp_path / "runs", store, over=True)


def test_a_run_is_locked_while_it_is_made(
    tmp_path: Path, whole_run: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def within(jobs, work, **more):  # type: ignore[no-untyped-def]
        with pytest.raises(OutputError, match=r"runs.speech: in use by process \d+ on this machine"):
            crossval([whole_run], tmp_path / "runs")
        return []

    crossval([whole_run], tmp_path / "runs", runner=within)
    assert not crossval([whole_run], tmp_path / "runs").failures, "unlocked at the end"


def test_a_run_that_was_killed_after_one_fold_names_the_others(tmp_path: Path) -> None:
    plan = planned(tmp_path, recipe(corpus(tmp_path), "speech"))
    run_job(plan.jobs[1])
    result = evaluate(plan.folder)
    assert result.run.headline == "1 of 3 folds, unfinished: session-0, session-2"
    assert not result.intervals["ua"].known


def test_folds_of_another_code_or_corpus_do_not_count_beside_new_ones(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    plan = planned(tmp_path, recipe(path, "speech"))
    for job in plan.jobs:
        run_job(job)
    assert not evaluate(plan.folder).run.missing
    relabelled(path, {"u000": "sad"})
    run_job(planned(tmp_path, recipe(path, "speech")).jobs[0])
    assert evaluate(plan.folder).run.missing == ("session-1", "session-2")


def test_a_store_that_was_given_is_the_one_that_is_used_though_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Store] = []

    def gathered(made: Recipe, found: Sequence[Utterance], store: Store, *, jobs: int) -> Features:
        used.append(store)
        return Planted(tmp_path)(made, read_corpus(made.manifest))

    monkeypatch.setattr("undertone.experiment.crossval.gather_features", gathered)
    monkeypatch.setattr("undertone.experiment.crossval.run_jobs", lambda jobs, work, **more: [])
    empty = Store(tmp_path / "own")
    crossval([recipe(corpus(tmp_path), name) for name in ("speech", "text")], tmp_path / "runs", store=empty)
    assert len(empty) == 0 and used and all(store is empty for store in used)


def test_a_manifest_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = corpus(tmp_path)
    first = read_corpus(path)
    assert read_corpus(str(path)) is first
    relabelled(path, {"u000": "sad"})
    assert read_corpus(path).by_id["u000"].label == "sad"
