from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bees.learning.workers import THREADS_VARIABLE, for_each, worker_count

ROUND = """
import hashlib
import jax
import numpy as np
from bees.learning.datasets import load_dataset
from bees.learning.evaluation import Evaluator
from bees.learning.models import MLP, initial_weights
from bees.learning.partition import make_partition
from bees.learning.training import LocalTrainer
from bees.learning.workers import worker_count
from bees.scenario import Learning
dataset = load_dataset("mnist")
learning = Learning(clients_per_chunk=10)
partition = make_partition(learning, dataset.y_train, 300, 0)
model = MLP(784, 25, 10)
updates = LocalTrainer(model, dataset, partition, learning, 0).train(initial_weights(model, 0), 1, range(40))
correct = Evaluator(model, dataset.test_set, models_per_chunk=40).evaluate_all(updates)
print(worker_count(), hashlib.sha256(updates.tobytes()).hexdigest(), hashlib.sha256(correct.tobytes()).hexdigest())
"""


def run_round(**environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in {THREADS_VARIABLE, "XLA_FLAGS"}}
    command = [sys.executable, "-c", ROUND]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_one_thread_and_several_give_the_same_bits():
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    one, three = run_round(NPROC="1", XLA_FLAGS=flags), run_round(NPROC="3")
    assert [one[0], three[0]] == ["1", "3"]
    assert one[1:] == three[1:]


def test_the_variable_sets_the_number_of_workers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert worker_count() == 3


@pytest.mark.parametrize("nonsense", ["", "0", "-2", "many", "²"])
def test_nonsense_in_the_variable_is_ignored(monkeypatch: pytest.MonkeyPatch, nonsense: str):
    monkeypatch.setenv(THREADS_VARIABLE, nonsense)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert worker_count() == cores


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_the_jobs(workers: int):
    assert for_each(lambda n: n * n, range(20), workers) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_reaches_the_caller(workers: int):
    with pytest.raises(ZeroDivisionError):
        for_each(lambda n: 1 // n, [1, 0], workers)
