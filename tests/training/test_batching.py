import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertone.training.batching import deal, evaluation_batches, plan_epoch

lengths = st.lists(st.integers(1, 400), min_size=1, max_size=90).map(np.array)


@given(lengths, st.integers(1, 17), st.integers(1, 5))
def test_an_epoch_sees_everyone_once(sizes: np.ndarray, batch: int, pool: int) -> None:
    plan = plan_epoch(sizes, np.zeros_like(sizes), batch=batch, pool=pool, seed=3, epoch=1)
    assert sorted(np.concatenate(plan)) == list(range(len(sizes)))
    assert all(len(b) <= batch for b in plan)


def test_the_plan_is_fixed_by_seed_and_epoch() -> None:
    sizes = np.arange(1, 60)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [b.tolist() for b in plan_epoch(sizes, sizes, batch=8, seed=seed, epoch=epoch)]

    assert plan(0, 0) == plan(0, 0) != plan(0, 1)
    assert plan(0, 0) != plan(1, 0)


def test_length_buckets_leave_little_padding() -> None:
    sizes = np.random.default_rng(0).lognormal(5.3, 0.6, 2000).astype(int) + 1

    def waste(pool: int) -> float:
        plan = plan_epoch(sizes, sizes, batch=32, pool=pool)
        padded = sum(sizes[b].max() * len(b) for b in plan)
        return 1 - sizes.sum() / padded

    assert waste(1) > 0.5 > 0.15 > waste(16)


def test_balanced_sampling_draws_the_classes_alike() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    plan = np.concatenate(plan_epoch(labels + 1, labels, batch=32, sampling="balanced"))
    share = np.bincount(labels[plan]) / len(plan)
    assert share == pytest.approx([1 / 3] * 3, abs=0.06)


def test_undersampling_takes_of_each_as_many_as_the_rarest_and_none_twice() -> None:
    labels = np.array([0] * 90 + [1] * 40 + [2] * 7 + [-1] * 30)

    def drawn(epoch: int) -> np.ndarray:
        return np.concatenate(plan_epoch(labels + 2, labels, batch=8, sampling="undersampled", epoch=epoch))

    first, second = drawn(0), drawn(1)
    assert len(set(first)) == len(first)
    assert np.unique(labels[first], return_counts=True)[1].tolist() == [7, 7, 7, 7]
    assert set(first[labels[first] == 2]) == set(second[labels[second] == 2])
    assert set(first[labels[first] == 0]) != set(second[labels[second] == 0])


def test_the_rarest_class_counts_not_how_few_have_none() -> None:
    labels = np.array([0] * 9 + [1] * 4 + [-1] * 2)
    plan = np.concatenate(plan_epoch(labels + 2, labels, batch=8, sampling="undersampled"))
    assert np.unique(labels[plan], return_counts=True)[1].tolist() == [2, 4, 4]


@given(lengths, st.integers(1, 4), st.integers(1, 3), st.integers(4, 16))
def test_processes_share_each_batch_and_nothing_twice(
    sizes: np.ndarray, processes: int, parts: int, batch: int
) -> None:
    plan = plan_epoch(sizes, sizes, batch=batch)
    dealt = [list(deal(plan, rank=r, processes=processes, parts=parts)) for r in range(processes)]
    assert len({len(steps) for steps in dealt}) == 1
    for together in zip(*dealt, strict=True):
        assert len({len(step.parts) for step in together}) == 1, "all processes do as many forward passes"
        assert all(len(part) for step in together for part in step.parts)
        seen = np.concatenate([part for step in together for part in step.parts])
        assert sorted(seen) == sorted(together[0].whole)


def test_evaluation_starts_with_the_longest() -> None:
    batches = evaluation_batches(np.array([3, 9, 1, 7]), 2)
    assert [b.tolist() for b in batches] == [[1, 3], [0, 2]]
