"""A run folder is read as it was written, measured over the right units, and compared only with its like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from undertone import splits
from undertone.errors import ConfigError, DataError, ProtocolError
from undertone.evaluation import card as cards
from undertone.evaluation import facts
from undertone.evaluation import runs as reading
from undertone.evaluation.breakdown import breakdown
from undertone.evaluation.card import Card, differences, legend, marks
from undertone.evaluation.results import Result, compare, evaluate, reference_of
from undertone.types import Utterance

Make = Callable[..., Path]


def _rows(path: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rewrite(path: Path, rows: list[dict]) -> None:  # type: ignore[type-arg]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_run_is_read_as_it_was_written(runs: Make) -> None:
    folder = runs("concat")
    run = reading.read(folder)
    rows = {(r["id"], r["seed"]): r for p in folder.glob("*/*/predictions.jsonl") for r in _rows(p)}
    said = run.predictions
    assert said.labels == ("angry", "happy", "sad", "neutral")
    assert said.seeds == (0, 1)
    assert len(run.jobs) == 10
    for s, seed in enumerate(said.seeds):
        for n in range(0, len(said.ids), 37):
            row = rows[said.ids[n], seed]
            assert said.labels[said.truth[n]] == row["truth"]
            assert said.folds[n] == row["fold"]
            assert said.probabilities[s, n].tolist() == [row["probabilities"][c] for c in said.labels]
            assert said.labels[said.predicted()[s, n]] == row["label"]
    assert run.config["system"] == "concat"
    assert run.seconds == pytest.approx(10 * 5.7)


def test_an_unfinished_fold_and_the_final_model_are_left_out(runs: Make) -> None:
    folder = runs("concat", seeds=(0,))
    (folder / "session-2" / "0" / "metrics.json").unlink()
    (folder / "final").mkdir()
    assert {job.fold for job in reading.read(folder).jobs} == {f"session-{s}" for s in (1, 3, 4, 5)}


def test_seeds_that_tested_other_utterances_are_refused(runs: Make) -> None:
    folder = runs("concat")
    (folder / "session-2" / "1" / "metrics.json").unlink()
    with pytest.raises(ProtocolError, match="seed 1 did not test the same utterances"):
        reading.read(folder)


def test_an_utterance_that_is_tested_twice_is_refused(runs: Make) -> None:
    folder = runs("concat", seeds=(0,))
    first, second = (folder / f"session-{s}" / "0" / "predictions.jsonl" for s in (1, 2))
    _rewrite(second, [*_rows(second), _rows(first)[0]])
    with pytest.raises(ProtocolError, match="is tested twice with seed 0"):
        reading.read(folder)


@pytest.mark.parametrize(("content", "says"), [("{broken", "not JSON"), ("", "no prediction has a truth")])
def test_a_broken_file_is_named(runs: Make, content: str, says: str) -> None:
    folder = runs("concat", seeds=(0,))
    for path in folder.glob("*/0/predictions.jsonl"):
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        reading.read(folder)


def test_a_folder_without_runs_or_card_says_so(tmp_path: Path, runs: Make) -> None:
    with pytest.raises(DataError, match="no finished fold"):
        reading.read(tmp_path)
    folder = runs("concat", seeds=(0,))
    (folder / "card.json").unlink()
    with pytest.raises(DataError, match=r"card\.json: no protocol card"):
        reading.read(folder)


def test_a_truth_outside_the_labels_is_refused(runs: Make) -> None:
    folder = runs("concat", seeds=(0,))
    path = folder / "session-1" / "0" / "predictions.jsonl"
    _rewrite(path, [row | {"truth": "bored"} for row in _rows(path)])
    with pytest.raises(ProtocolError, match="truth 'bored' is not among the labels"):
        reading.read(folder)


def test_abstentions_are_wrong_everywhere(runs: Make) -> None:
    folder = runs("concat", seeds=(0,))
    before = evaluate(folder)
    path = folder / "session-1" / "0" / "predictions.jsonl"
    _rewrite(path, [row | {"label": None} for row in _rows(path)])
    after = evaluate(folder)
    assert after.folds["ua"].values[0] == 0.0
    assert after.folds["ua"].values[1:] == before.folds["ua"].values[1:]
    assert sum(map(sum, after.confusion)) == pytest.approx(320)


def test_pooled_values_are_means_over_seeds_and_intervals_surround_them(runs: Make) -> None:
    result = evaluate(runs("concat"))
    said = result.run.predictions
    right = (said.predicted() == said.truth).mean(axis=1)
    assert result.seeds["wa"].values == pytest.approx(right.tolist())
    assert result.intervals["wa"].value == pytest.approx(right.mean())
    for name in ("wa", "ua"):
        assert result.intervals[name].value == pytest.approx(result.seeds[name].mean)
    assert result.unit == "session"
    assert (result.intervals["ua"].units, result.intervals["ua"].method) == (5, "t")
    assert result.speaker_interval
    assert result.speaker_interval.units == 10
    assert result.perspectives["fused"] > result.perspectives["speech"]
    json.dumps(result.plain())


def test_speakers_who_never_talk_to_each_other_are_the_unit() -> None:
    known = {f"u{i}": {"speaker": f"s{i % 3}", "session": "1", "dialogue": None} for i in range(9)}
    assert facts.units(known, known)[0] == "speaker"
    talking = {i: row | {"dialogue": "d"} for i, row in known.items()}
    assert facts.units(talking, talking)[0] == "session"
    assert facts.units({}, ["u1", "u2"]) == (facts.UTTERANCE, ["u1", "u2"])


def test_facts_say_whether_a_text_was_seen_in_training() -> None:
    people = [
        Utterance(f"{s}{i}", f"{s}{i}.wav", speaker=s, session=s, text=text, end=2.0)
        for s in "abc"
        for i, text in enumerate(["Always the same.", f"only {s} says this"])
    ]
    found = facts.facts(people, splits.make(people, "loso"))
    assert [found[f"a{i}"]["seen_text"] for i in (0, 1)] == [True, False]
    assert found["a0"]["duration"] == 2.0


def test_a_planted_weakness_shows_in_its_part_only(runs: Make) -> None:
    folder = runs("concat", 3.0)
    known = facts.read(folder)
    for path in folder.glob("*/*/predictions.jsonl"):
        rows = _rows(path)
        for row in rows:
            if known[row["id"]]["scripted"]:
                row["probabilities"] = dict(zip(row["probabilities"], (0.1, 0.1, 0.1, 0.7), strict=True))
        _rewrite(path, rows)
    parts = {p.name: p for p in breakdown(reading.read(folder))["speech"]}
    assert parts["scripted"].ua == pytest.approx(0.25)
    assert parts["improvised"].ua > 0.6
    assert parts["scripted"].n + parts["improvised"].n == 400
    names = [p.name for p in breakdown(reading.read(folder))["duration"]]
    assert names == ["under 2 s", "2-4 s", "4-8 s", "8 s and more"]


def test_a_clear_lead_is_found_and_an_even_race_is_not(runs: Make) -> None:
    results = [evaluate(runs("unison", 2.6)), evaluate(runs("speech", 0.7)), evaluate(runs("twin", 2.6))]
    behind, twin = compare(results, reference_of(results))
    assert behind.paired
    assert (behind.paired.test, behind.paired.difference.units) == ("t", 5), "speakers talk: sessions"
    assert behind.paired.p < 0.01
    assert behind.corrected == 2 * behind.paired.p
    assert behind.paired.difference.high < 0
    assert twin.corrected
    assert twin.corrected > 0.05


def test_the_reference_is_never_chosen_by_its_score(runs: Make) -> None:
    results = [evaluate(runs("speech", 0.7)), evaluate(runs("concat", 2.6))]
    assert reference_of(results).name == "speech"
    assert reference_of(results, "concat").name == "concat"
    with pytest.raises(ConfigError, match="no run 'conct' to test against: did you mean 'concat'"):
        reference_of(results, "conct")


def test_speakers_who_talk_are_units_only_by_name_and_that_is_stamped(runs: Make) -> None:
    folder = runs("unison", 2.6)
    default, named = evaluate(folder), evaluate(folder, "speaker")
    assert (default.unit, default.intervals["ua"].units, default.warnings) == ("session", 5, [])
    assert (named.unit, named.intervals["ua"].units) == ("speaker", 10)
    assert [line for line in named.warnings if "speakers are the units though they talk" in line]
    by_card = evaluate(runs("by-card", 2.6, unit="speaker"))
    assert by_card.unit == "speaker" and by_card.warnings == named.warnings
    (comparison,) = compare([named, evaluate(runs("speech", 0.7), "speaker")], named)
    assert comparison.paired
    assert comparison.paired.test == "sign-flip"
    assert comparison.paired.p == comparison.paired.smallest == 2**-9


def test_a_unit_that_is_not_known_is_refused(runs: Make) -> None:
    folder = runs("unison", 2.6)
    (folder / "facts.jsonl").unlink()
    with pytest.raises(ProtocolError, match="needs the session of every utterance"):
        evaluate(folder, "session")


def test_missing_folds_are_named_and_give_no_interval(runs: Make) -> None:
    """A run that was killed in its second fold of five."""
    folder = runs("concat", seeds=(0,))
    for session in (2, 3, 4):
        shutil.rmtree(folder / f"session-{session}")
    (folder / "session-5" / "0" / "metrics.json").unlink()
    result = evaluate(folder)
    assert result.run.headline == "1 of 5 folds, unfinished: session-2, session-3, session-4, session-5"
    assert not any(interval.known for interval in result.intervals.values())
    assert result.warnings == [f"{result.run.headline}: no interval"]
    values = json.loads(json.dumps(result.plain(), allow_nan=False))
    assert values["ua_interval"] == [None, None] and values["missing"] == list(result.run.missing)
    (comparison,) = compare([result, result_of_the_same_folds(runs)], result)
    assert comparison.paired is None and "folds are missing" in comparison.reasons


def result_of_the_same_folds(runs: Make) -> Result:
    folder = runs("text", seeds=(0,))
    for session in (2, 3, 4, 5):
        shutil.rmtree(folder / f"session-{session}")
    return evaluate(folder)


def test_a_fold_of_other_settings_or_of_no_plan_is_missing_not_counted(runs: Make) -> None:
    folder = runs("concat", seeds=(0,))
    (folder / "session-2" / "0" / "done.json").write_text('{"fingerprint": "another"}')
    shutil.copytree(folder / "session-3", folder / "speaker-9")
    run = reading.read(folder)
    assert run.missing == ("session-2",)
    assert {job.fold for job in run.jobs} == {f"session-{s}" for s in (1, 3, 4, 5)}


def test_a_seed_that_is_missing_is_named_with_its_folds(runs: Make) -> None:
    folder = runs("concat", seeds=(0, 1))
    for session in range(1, 6):
        (folder / f"session-{session}" / "1" / "done.json").unlink()
    run = reading.read(folder)
    assert run.predictions.seeds == (0,) and run.missing[0] == "session-1 (seed 1)"


BASE = Card(corpus="demo", labels="demo4", protocol="loso", seeds=(0,), encoders={"speech": "a", "text": "b"})


@pytest.mark.parametrize(
    "change", [{"selection": "test"}, {"split": "x"}, {"transcripts": "whisper"}, {"seeds": (0, 1)}]
)
def test_cards_that_differ_in_the_protocol_do_not_compare(change: dict[str, object]) -> None:
    from dataclasses import replace

    (reason,) = differences(BASE, replace(BASE, **change))
    assert reason.startswith(next(iter(change)))


def test_encoders_are_compared_side_by_side_and_machines_are_not() -> None:
    from dataclasses import replace

    assert differences(BASE, replace(BASE, encoders={"speech": "a"}, machine="other", code="2")) == []
    assert differences(BASE, replace(BASE, encoders={"speech": "z"})) == ["speech encoder: 'a' ≠ 'z'"]


def test_the_same_reasons_share_a_letter() -> None:
    from dataclasses import replace

    test, asr = replace(BASE, selection="test"), replace(BASE, transcripts="asr")
    assert marks([BASE, test, BASE, asr, test]) == ["", "a", "", "b", "a"]
    assert [mark for mark, _ in legend([BASE, test, asr])] == ["a", "b"]


def test_a_card_survives_its_file_and_a_later_versions_keys(tmp_path: Path) -> None:
    cards.write(tmp_path, BASE)
    assert cards.read(tmp_path) == BASE
    values = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "card.json").write_text(json.dumps(values | {"planet": "Mars"}), encoding="utf-8")
    assert cards.read(tmp_path) == BASE
    (tmp_path / "card.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="not a protocol card"):
        cards.read(tmp_path)


def test_random_labels_end_at_chance(runs: Make) -> None:
    result = evaluate(runs("noise", 0.0))
    assert result.intervals["ua"].low < 0.25 < result.intervals["ua"].high
    assert np.isfinite(result.intervals["ua"].error)
