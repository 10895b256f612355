from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from bees.core.errors import InputError, MissingExtraError
from bees.learning import reference
from bees.learning.baselines import jax_vmap_round, measure_baseline, torch_loop_round
from bees.learning.evaluation import Evaluator
from bees.learning.models import MLP, initial_weights
from bees.learning.partition import make_partition
from bees.learning.training import LocalTrainer
from bees.scenario import Learning, Scenario, Topology

if TYPE_CHECKING:
    from bees.learning.datasets import Dataset

MODEL = MLP(64, 6, 4)
SMALL = Scenario(learning=Learning(dataset="mnist-7x7"), topology=Topology(devices=20))


def full_batch() -> Learning:
    """One step on all samples of a UE, so that no shuffle can tell implementations apart."""
    return Learning(partition="iid", batch_size=70, learning_rate=0.1, epochs=2)


def test_the_jax_baseline_does_the_same_work(digits: Dataset):
    learning = full_batch()
    partition = make_partition(learning, digits.y_train, 10, 0)
    weights = initial_weights(MODEL, 0)
    updates, correct = jax_vmap_round(MODEL, digits, partition, learning, 0)(weights, 1)
    ours = LocalTrainer(MODEL, digits, partition, learning, 0).train(weights, 1, range(10))
    assert np.allclose(updates, ours, atol=1e-5)
    assert np.array_equal(correct, Evaluator(MODEL, digits.test_set).evaluate_all(updates))


def test_the_torch_baseline_does_the_same_work(digits: Dataset):
    pytest.importorskip("torch", reason="PyTorch is an optional extra")
    learning = full_batch()
    partition = make_partition(learning, digits.y_train, 10, 0)
    weights = initial_weights(MODEL, 0)
    updates, correct = torch_loop_round(MODEL, digits, partition, learning, 0)(weights, 1)
    slow = [reference.local_training(MODEL, digits, partition, learning, 0, weights, 1, k) for k in range(10)]
    assert np.allclose(updates, slow, atol=1e-5)
    assert np.array_equal(correct, Evaluator(MODEL, digits.test_set).evaluate_all(updates))


def test_a_missing_torch_is_one_clear_line(digits: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    partition = make_partition(full_batch(), digits.y_train, 10, 0)
    with pytest.raises(MissingExtraError, match=r"pip install 'bees-edge\[compare\]'"):
        torch_loop_round(MODEL, digits, partition, full_batch(), 0)
    monkeypatch.setattr("bees.learning.baselines.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="PyTorch is not installed"):
        measure_baseline("plain PyTorch loop", SMALL, 1)


def test_a_baseline_is_measured_in_its_own_process():
    assert 0 < measure_baseline("plain JAX vmap", SMALL, 1) < 60


def test_a_scenario_that_a_baseline_cannot_run_is_one_clear_line():
    broken = msgspec.structs.replace(SMALL, learning=Learning(dataset="absent.npz"))
    with pytest.raises(InputError, match=r"plain JAX vmap: .*absent\.npz: no such file"):
        measure_baseline("plain JAX vmap", broken, 1)
