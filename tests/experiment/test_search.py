"""Settings are searched inside each fold: what a fold tests has no vote, and a shared search is stamped."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from planted import LABELS, Planted, corpus, recipe, relabelled

from undertone.errors import ConfigError, ProtocolError
from undertone.evaluation import card as cards
from undertone.evaluation.results import evaluate
from undertone.experiment.crossval import crossval
from undertone.experiment.material import read_corpus
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.search import Searched, search_recipe
from undertone.store import Store
from undertone.training.search import parse_range

RANGES = ("training.rate=1e-4..3e-2", "model.width=4,8")
Search = Callable[..., Searched]


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Searches in a folder of their own; features need no encoder, and keep what the labels were at first."""
    features = Planted(tmp_path, strength=2.0)
    features.told = {u.id: str(u.label) for u in read_corpus(corpus(tmp_path)).utterances}
    monkeypatch.setattr(
        "undertone.experiment.search.gather_features",
        lambda made, utterances, store: features(made, read_corpus(made.manifest)),
    )
    monkeypatch.setattr("undertone.experiment.crossval._Shared.of", lambda self, r, c: features(r, c))

    def search(made: Recipe, name: str, *ranges: str, **options: object) -> Searched:
        spaces = [parse_range(text) for text in ranges or RANGES]
        options = {"trials": 3, **options}
        return search_recipe(made, spaces, tmp_path / name, Store(tmp_path / "store"), **options)  # type: ignore[arg-type]

    return search


def small(path: Path, *overrides: str) -> Recipe:
    return recipe(path, "speech", "training.epochs=4", *overrides)


def settings(done: Searched) -> dict[str, tuple[dict[str, object], float]]:
    return {name: (dict(best.values), best.score) for name, best in done.results.items()}


def test_the_labels_of_a_session_have_no_vote_in_the_fold_that_tests_it(
    tmp_path: Path, searched: Search
) -> None:
    path = corpus(tmp_path)
    before = settings(searched(small(path), "before"))
    assert set(before) == {"session-0", "session-1", "session-2"}
    mine = [u for u in read_corpus(path).utterances if u.session == "0"]
    turned = {u.id: LABELS[(LABELS.index(str(u.label)) + 1) % 3] for u in mine}
    relabelled(path, turned)
    after = settings(searched(small(path), "after"))
    assert after["session-0"] == before["session-0"]
    assert after["session-2"] != before["session-2"], "session 0 is its validation part"


def test_the_chosen_settings_train_each_fold_and_their_middle_the_final_model(
    tmp_path: Path, searched: Search
) -> None:
    done = searched(small(corpus(tmp_path)), "search")
    found = load_recipe(done.recipe)
    ran = crossval([found], tmp_path / "runs")
    assert not ran.failures
    for name, best in done.results.items():
        used = load_recipe(ran.runs[0] / name / "0" / "recipe.toml")
        assert used.training.rate == best.values["training.rate"]
        assert used.model.plain()["width"] == best.values["model.width"]
    rates = sorted(best.values["training.rate"] for best in done.results.values())
    assert load_recipe(ran.runs[0] / "final" / "recipe.toml").training.rate == rates[1]
    card = cards.read(ran.runs[0])
    assert card.search == "" and any("each fold's own validation part" in note for note in card.notes)
    assert evaluate(ran.runs[0]).warnings == []


def test_other_settings_of_one_fold_train_that_fold_alone_again(tmp_path: Path, searched: Search) -> None:
    from planted import planned

    found = load_recipe(searched(small(corpus(tmp_path)), "search").recipe)
    folds = dict(found.searched.folds) | {"session-1": ("training.rate=0.001",)}
    other = found.model_copy(update={"searched": found.searched.model_copy(update={"folds": folds})})
    one, two = ({j.fold: j.fingerprint for j in planned(tmp_path, r).jobs} for r in (found, other))
    assert {fold for fold in one if one[fold] != two[fold]} == {"session-1"}


def test_a_shared_search_is_stamped_on_card_and_report(tmp_path: Path, searched: Search) -> None:
    done = searched(small(corpus(tmp_path)), "search", shared=True, folds=1)
    assert list(done.results) == ["the validation parts of session-0, once for all folds"]
    ran = crossval([load_recipe(done.recipe)], tmp_path / "runs", final=False)
    assert "the validation parts of session-0" in cards.read(ran.runs[0]).search
    assert any("settings were searched on the validation parts" in s for s in evaluate(ran.runs[0]).warnings)


def test_trainings_are_counted_those_of_earlier_calls_first(tmp_path: Path, searched: Search) -> None:
    made = small(corpus(tmp_path))
    seen: list[tuple[int, int]] = []
    searched(made, "own", trials=2, watch=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {3 * 2} and seen[0] == (0, 6) and seen[-1] == (6, 6)
    assert seen == sorted(seen) and {done for done, _ in seen} == set(range(7))
    seen.clear()
    searched(made, "own", trials=3, watch=lambda done, total: seen.append((done, total)))
    assert seen[0] == (2, 9) and seen[-1] == (9, 9)
    seen.clear()
    searched(made, "s", shared=True, folds=2, trials=2, watch=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen[:3]] == [0, 1, 1] and seen[-1] == (4, 4), "by fold, then by trial"


def test_a_search_goes_on_where_it_was_unless_what_it_reads_has_changed(
    tmp_path: Path, searched: Search
) -> None:
    path = corpus(tmp_path)
    first = searched(small(path), "search", trials=2)
    again = searched(small(path), "search", trials=3)
    assert [r.trials for r in again.results.values()] == [3, 3, 3]
    assert all(again.results[n].score >= first.results[n].score for n in first.results)
    relabelled(path, {"u001": "sad"})  # of session 1, which fold session-1 tests
    changed = searched(small(path), "search", trials=2)
    assert {n: r.trials for n, r in changed.results.items()} == {
        "session-0": 2,
        "session-1": 3,
        "session-2": 2,
    }


@pytest.mark.parametrize(
    ("ranges", "options", "why"),
    [
        (("protocol.split_seed=0,1",), {}, "decides what is measured"),
        (("manifest=a,b",), {}, "decides what is measured"),
        (("speech.layer=1,2",), {}, "search it with --shared"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, searched: Search, ranges: tuple[str, ...], options: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        searched(small(corpus(tmp_path)), "search", *ranges, **options)


def test_settings_for_other_folds_or_by_the_test_part_are_refused(tmp_path: Path, searched: Search) -> None:
    path = corpus(tmp_path)
    done = searched(small(path), "search", trials=1)
    with pytest.raises(ConfigError, match="inside other folds"):
        crossval([load_recipe(done.recipe, ["protocol.split_seed=1"])], tmp_path / "runs")
    with pytest.raises(ProtocolError, match="choose settings on it"):
        searched(small(path, "protocol.selection=test"), "other")
    assert json.loads(json.dumps(load_recipe(done.recipe).plain()))
