from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ScenarioError
from bees.learning.datasets import Dataset
from bees.learning.partition import NO_SAMPLE, Partition, dirichlet, make_partition, selection_split, shards
from bees.scenario import Learning, PartitionName

NAMES = get_args(PartitionName)


def labels_of(samples: int, classes: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.random.default_rng(1).integers(0, classes, samples).astype(np.int32)


def held(partition: Partition) -> list[int]:
    return [int(i) for k in range(len(partition.n)) for i in partition.samples_of(k)]


def skew(partition: Partition, labels: np.ndarray[Any, Any]) -> float:
    """Mean over the UEs of the share of their commonest class."""
    return float(np.mean([np.bincount(labels[partition.samples_of(k)]).max() / n for k, n in enumerate(partition.n)]))


@given(
    name=st.sampled_from(NAMES),
    samples=st.integers(1, 400),
    devices=st.integers(1, 60),
    classes=st.integers(1, 12),
    alpha=st.sampled_from([1e-300, 1e-3, 0.1, 0.5, 10.0, 1e9]),
    seed=st.integers(0, 2**63 - 1),
)
@settings(deadline=None, max_examples=150)
def test_no_sample_is_given_twice(name: Any, samples: int, devices: int, classes: int, alpha: float, seed: int):
    learning = Learning(partition=name, dirichlet_alpha=alpha, shards_per_device=2)
    labels = labels_of(samples, classes)
    needed = devices * 2 if name == "shards" else devices
    if needed > samples:
        with pytest.raises(ScenarioError) as caught:
            make_partition(learning, labels, devices, seed)
        key = "topology.devices" if devices > samples else "learning.shards_per_device"
        assert caught.value.key == key
        return
    partition = make_partition(learning, labels, devices, seed)
    given = held(partition)
    assert len(set(given)) == len(given) == partition.n.sum()
    assert set(given) <= set(range(samples))
    assert partition.n.min() >= 1
    assert partition.index.shape == (devices, partition.n.max())
    assert (partition.index == NO_SAMPLE).sum() == partition.index.size - len(given)
    assert len(given) == (samples // devices * devices if name == "dirichlet" else samples)


@given(samples=st.integers(20, 200), devices=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_iid_and_dirichlet_sizes_are_even(samples: int, devices: int, seed: int):
    labels = labels_of(samples, 5)
    even = make_partition(Learning(partition="iid"), labels, devices, seed)
    assert even.n.max() - even.n.min() <= 1
    equal = make_partition(Learning(partition="dirichlet"), labels, devices, seed)
    assert set(equal.n.tolist()) == {samples // devices}


def test_the_same_seed_gives_the_same_partition_and_another_one_another():
    labels = labels_of(500, 10)
    for name in NAMES:
        learning = Learning(partition=name)
        one, again, other = (make_partition(learning, labels, 10, seed) for seed in (3, 3, 4))
        assert np.array_equal(one.index, again.index)
        assert one.index.shape != other.index.shape or not np.array_equal(one.index, other.index)


def test_a_small_alpha_skews_labels_and_a_large_one_does_not():
    labels = labels_of(20_000, 10)
    by_alpha = [skew(dirichlet(labels, 40, alpha, 0), labels) for alpha in (0.01, 0.5, 1000.0)]
    assert by_alpha[0] > 0.8
    assert 0.3 < by_alpha[1] < 0.6
    assert by_alpha[2] < 0.2


def test_shards_hold_few_classes():
    labels = labels_of(6000, 10)
    partition = shards(labels, 100, 2, 0)
    classes = [len(np.unique(labels[partition.samples_of(k)])) for k in range(100)]
    assert max(classes) <= 4
    assert np.mean(classes) < 3


def test_quantity_skew_keeps_the_mix_and_skews_the_sizes():
    labels = labels_of(20_000, 10)
    partition = make_partition(Learning(partition="quantity_skew", dirichlet_alpha=0.5), labels, 50, 0)
    assert partition.n.max() > 5 * np.median(partition.n)
    largest = int(np.argmax(partition.n))
    assert np.bincount(labels[partition.samples_of(largest)]).max() / partition.n[largest] < 0.15


def test_a_thousand_devices_are_quick_and_complete():
    labels = labels_of(60_000, 10)
    for name in NAMES:
        assert make_partition(Learning(partition=name), labels, 1000, 0).n.sum() == 60_000


def test_an_unknown_partition_gets_a_suggestion():
    wrong: Any = "dirichlett"
    learning = Learning(partition=wrong)
    with pytest.raises(ScenarioError, match="did you mean 'dirichlet'") as caught:
        make_partition(learning, labels_of(10, 2), 2, 0)
    assert (caught.value.key, caught.value.value) == ("learning.partition", "dirichlett")


@pytest.fixture
def dataset() -> Dataset:
    x = np.arange(50, dtype=np.float32)[:, None]
    y = np.arange(50, dtype=np.int32) % 2
    return Dataset("tiny", x, y, x[:5] + 100, y[:5], 2, (1,))


def test_selection_by_the_test_set_leaves_the_training_set_whole(dataset: Dataset):
    training, chosen_by = selection_split(dataset, Learning(selection_set="test"), 0)
    assert training is dataset
    assert chosen_by.hash == dataset.test_set.hash


def test_validation_samples_are_held_out_of_the_training_set(dataset: Dataset):
    learning = Learning(selection_set="validation", validation_samples=20)
    training, held_out = selection_split(dataset, learning, 0)
    kept, out = set(training.x_train[:, 0].tolist()), set(held_out.x[:, 0].tolist())
    assert (len(kept), len(out)) == (30, 20)
    assert kept | out == set(range(50))
    assert np.array_equal(held_out.y, held_out.x[:, 0].astype(int) % 2)
    assert np.array_equal(training.y_train, training.x_train[:, 0].astype(int) % 2)
    assert np.array_equal(training.x_test, dataset.x_test)
    assert not np.array_equal(held_out.x, selection_split(dataset, learning, 1)[1].x)


def test_validation_must_leave_something_to_train_on(dataset: Dataset):
    with pytest.raises(ScenarioError, match="only 50 training samples") as caught:
        selection_split(dataset, Learning(selection_set="validation", validation_samples=50), 0)
    assert caught.value.key == "learning.validation_samples"
