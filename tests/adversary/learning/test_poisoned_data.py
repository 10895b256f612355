from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bees
from bees.adversary.learning.adversary import gather, largest_weight, poison_data
from bees.adversary.learning.poisoning import (
    Loot,
    flip_labels,
    make_trigger,
    overfit_selection,
    plant_backdoor,
    triggered_test_set,
)
from bees.core.errors import ScenarioError
from bees.core.fixed_point import quantise
from bees.core.update_codec import UPDATE_ENCODINGS, decode_update, encode_update
from bees.experiment import split_data
from bees.learning.datasets import Dataset, EvaluationSet
from bees.scenario import Attack, Scenario


def digits(shape: tuple[int, ...] = (4, 4), samples: int = 40) -> Dataset:
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 0.9, (samples, int(np.prod(shape)))).astype(np.float32)
    y = (np.arange(samples) % 4).astype(np.int32)
    return Dataset("tiny", x, y, x[:20].copy(), y[:20].copy(), 4, shape)


def loot(dataset: Dataset, attack: Attack, strength: float = 1.0) -> Loot:
    selection = EvaluationSet(dataset.x_test, dataset.y_test)
    trigger = make_trigger(attack, dataset)
    return Loot(dataset.x_train, dataset.y_train, dataset.classes, selection, trigger, strength)


def test_a_flipped_label_counts_from_the_other_end():
    data = digits()
    x, y = flip_labels(loot(data, Attack()), np.random.default_rng(0))
    assert np.array_equal(x, data.x_train)
    assert np.array_equal(y, 3 - data.y_train)


@pytest.mark.parametrize(
    ("shape", "side", "pixels"),
    [
        ((4, 4), 2, [10, 11, 14, 15]),
        ((2, 3, 2), 1, [10, 11]),
        ((6,), 2, [4, 5]),
    ],
)
def test_the_trigger_is_a_bright_square_in_the_last_corner(shape: tuple[int, ...], side: int, pixels: list[int]):
    data = digits(shape)
    trigger = make_trigger(Attack(trigger_pixels=side), data)
    assert sorted(trigger.pixels) == pixels
    stamped = trigger.stamp(data.x_train)
    assert (stamped[:, pixels] == data.x_train.max()).all()
    others = np.setdiff1d(np.arange(data.inputs), pixels)
    assert np.array_equal(stamped[:, others], data.x_train[:, others])


def test_a_backdoor_is_planted_in_its_share_of_the_samples():
    data = digits()
    given = loot(data, Attack(target_label=2, trigger_pixels=2, poisoned_fraction=0.25))
    x, y = plant_backdoor(given, np.random.default_rng(0))
    marked = (x != data.x_train).any(axis=1)
    assert marked.sum() == 10
    assert (y[marked] == 2).all()
    assert np.array_equal(y[~marked], data.y_train[~marked])
    assert (x[marked][:, given.trigger.pixels] == given.trigger.value).all()


def test_who_overfits_trains_on_the_selection_set():
    data = digits()
    given = loot(data, Attack(trigger_pixels=1, poisoned_fraction=0.5), strength=0.25)
    x, y = overfit_selection(given, np.random.default_rng(0))
    assert len(y) == 10
    inside = [any(np.array_equal(row[:-1], known[:-1]) for known in data.x_test) for row in x]
    assert all(inside)
    assert len(overfit_selection(replace(given, strength=9.0), np.random.default_rng(0))[1]) == len(data.y_test)


def test_success_is_counted_on_marked_samples_of_other_labels():
    data = digits()
    trigger = make_trigger(Attack(target_label=1, trigger_pixels=2), data)
    marked = triggered_test_set(data, trigger)
    assert marked is not None
    assert len(marked) == (data.y_test != 1).sum()
    assert set(marked.y) == {1}
    only = replace(data, y_test=np.ones_like(data.y_test))
    assert triggered_test_set(only, trigger) is None


@pytest.mark.parametrize(
    ("change", "key"),
    [(Attack(target_label=4), "attack.target_label"), (Attack(trigger_pixels=5), "attack.trigger_pixels")],
)
def test_a_trigger_that_does_not_fit_the_data_is_refused(change: Attack, key: str):
    with pytest.raises(ScenarioError, match=key):
        make_trigger(change, digits())


def scenario(*changes: str) -> Scenario:
    return bees.load_scenario("quick", list(changes))


def test_the_attackers_are_a_floor_of_the_fraction_and_those_of_less_are_among_them():
    data = split_data(scenario()).dataset
    of = {
        fraction: gather(scenario("attack.name=zero", f"attack.fraction={fraction}"), data).attackers
        for fraction in (0.0, 0.05, 0.25, 0.5)
    }
    assert [len(some) for some in of.values()] == [0, 0, 3, 6]
    assert set(of[0.25]) < set(of[0.5])
    assert not np.array_equal(
        of[0.5], gather(scenario("attack.name=zero", "attack.fraction=0.5", "seed=1"), data).attackers
    )


def test_binary_fractions_cost_no_attacker():
    crowd = scenario("attack.name=zero", "attack.fraction=0.29", "topology.devices=100", "topology.servers=20")
    assert len(gather(crowd, split_data(scenario()).dataset).attackers) == 29


@pytest.mark.parametrize("name", ["label_flip", "sybils", "backdoor", "model_replacement", "overfit_selection"])
def test_poison_is_appended_so_that_nobody_elses_data_change(name: str):
    one = scenario(f"attack.name={name}", "attack.fraction=0.25")
    data = split_data(one)
    adversary = gather(one, data.dataset)
    training, partition = poison_data(adversary, data.training, data.partition, data.selection_set)
    count = len(data.training.y_train)
    assert np.array_equal(training.x_train[:count], data.training.x_train)
    assert np.array_equal(training.y_train[:count], data.training.y_train)
    assert len(partition.n) == 12 + 3
    for device in range(12):
        assert np.array_equal(partition.samples_of(device), data.partition.samples_of(device))
    poisoned = np.concatenate([partition.samples_of(row) for row in range(12, 15)])
    assert sorted(poisoned) == list(range(count, len(training.y_train)))
    everybody = np.arange(12)
    rows = adversary.rows(everybody, 1)
    assert np.array_equal(rows[adversary.attackers], [12, 13, 14])
    benign = np.setdiff1d(everybody, adversary.attackers)
    assert np.array_equal(rows[benign], benign)


def test_nobody_attacks_before_the_first_block():
    one = scenario("attack.name=backdoor", "attack.fraction=0.25", "attack.first_block=3")
    adversary = gather(one, split_data(one).dataset)
    everybody = np.arange(12)
    assert np.array_equal(adversary.rows(everybody, 2), everybody)
    assert not adversary.among(everybody, 2).any()
    assert adversary.among(everybody, 3).sum() == 3


@pytest.mark.parametrize("encoding", UPDATE_ENCODINGS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_weight_can_be_said_from_wherever_the_model_is(encoding: str, sign: int):
    limit = largest_weight(24, encoding)  # pyright: ignore[reportArgumentType]  # one of UPDATE_ENCODINGS
    words = quantise(np.array([sign * limit, limit, -limit], dtype=np.float32), 24)
    previous = quantise(np.array([-sign * limit, -limit, -limit], dtype=np.float32), 24)
    fed_back = words.astype(np.int64) + sign * 2**25
    for meant in (words.astype(np.int64), fed_back) if encoding != "words" else (words.astype(np.int64),):
        read = decode_update(encode_update(meant, previous, encoding), previous, encoding)  # pyright: ignore[reportArgumentType]  # one of UPDATE_ENCODINGS
        assert np.abs(read - meant).max() <= 2**25
