from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ModelShapeError
from bees.core.model import describe
from bees.learning import evaluation, reference
from bees.learning.datasets import Dataset, EvaluationSet, load_dataset
from bees.learning.evaluation import Evaluator, sort_by_lit_features
from bees.learning.models import CNN, MLP, Arrays, FlatWeights, initial_weights, unflatten

MODEL = MLP(64, 6, 4)


@pytest.fixture(scope="module")
def models() -> FlatWeights:
    draw = np.random.default_rng(2)
    return draw.normal(size=(23, MODEL.description.parameters)).astype(np.float32)


@pytest.fixture(scope="module")
def evaluator(digits: Dataset) -> Evaluator:
    return Evaluator(MODEL, digits.test_set, models_per_chunk=10)


def test_all_at_once_equals_one_after_another(digits: Dataset, models: FlatWeights, evaluator: Evaluator):
    # With margins that float32 cannot blur, the counts must agree to the last sample.
    assert min(np.abs(reference.margins(MODEL, m, digits.test_set)).min() for m in models) > 1e-5
    slow = [reference.count_correct(MODEL, m, digits.test_set) for m in models]
    assert evaluator.evaluate_all(models).tolist() == slow
    assert len(set(slow)) > 10


def test_a_score_depends_neither_on_company_nor_on_chunks_nor_on_threads(
    digits: Dataset, models: FlatWeights, evaluator: Evaluator
):
    counts = evaluator.evaluate_all(models)
    assert np.array_equal(evaluator.evaluate_all(models[::-1]), counts[::-1])
    assert np.array_equal(evaluator.evaluate_all(models[4:9]), counts[4:9])
    assert [int(evaluator.evaluate_all(m[None])[0]) for m in models] == counts.tolist()
    for chunk, threads in ((1, 3), (23, 1), (100, 2)):
        other = Evaluator(MODEL, digits.test_set, models_per_chunk=chunk, threads=threads)
        assert np.array_equal(other.evaluate_all(models), counts)


def test_accuracy_is_the_fraction_that_is_right(digits: Dataset, models: FlatWeights, evaluator: Evaluator):
    assert evaluator.accuracy(models[3]) == evaluator.evaluate_all(models)[3] / 1203


def test_of_equal_logits_the_lowest_class_wins(digits: Dataset, evaluator: Evaluator):
    level = np.zeros((2, MODEL.description.parameters), np.float32)
    zeros = int((digits.y_test == 0).sum())
    assert evaluator.evaluate_all(level).tolist() == [zeros, zeros]
    assert evaluator.evaluate_all(level[:1]).tolist() == [zeros]
    assert reference.count_correct(MODEL, level[0], digits.test_set) == zeros


def test_any_model_is_scored(digits: Dataset):
    model = CNN((8, 8), 4)
    models = np.stack([initial_weights(model, seed) for seed in range(3)])
    expected = [
        int(
            (
                np.asarray(model.logits(unflatten(model.description, m), jax.numpy.asarray(digits.x_test))).argmax(1)
                == digits.y_test
            ).sum()
        )
        for m in models
    ]
    assert Evaluator(model, digits.test_set, models_per_chunk=2).evaluate_all(models).tolist() == expected


def test_a_users_own_model_is_scored():
    class Identity:
        description = describe("identity", [("scale", (1,))], 24)

        def init(self, draw: np.random.Generator) -> FlatWeights:
            return draw.uniform(0, 1, 1).astype(np.float32)

        def logits(self, arrays: Arrays, x: jax.Array) -> jax.Array:
            return arrays[0] * x

    x = np.eye(4, dtype=np.float32)
    chosen = EvaluationSet(x, np.array([0, 1, 2, 0], np.int32))
    scores = Evaluator(Identity(), chosen).evaluate_all(np.array([[1], [-1], [0]], np.float32))
    assert scores.tolist() == [3, 1, 2]


def test_models_of_another_shape_are_refused(evaluator: Evaluator):
    with pytest.raises(ModelShapeError, match="mlp-64-6-4"):
        evaluator.evaluate_all(np.zeros((2, 5), np.float32))


def test_no_model_no_score(evaluator: Evaluator):
    assert evaluator.evaluate_all(np.zeros((0, MODEL.description.parameters), np.float32)).shape == (0,)


@given(
    samples=st.integers(1, 60),
    inputs=st.integers(1, 30),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_what_a_block_leaves_out_is_zero(samples: int, inputs: int, density: float, seed: int):
    draw = np.random.default_rng(seed)
    x = (draw.random((samples, inputs)) < density).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_SAMPLES_PER_BLOCK", 7)
        patch.setattr(evaluation, "_FEATURES_STEP", 4)
        features, blocks = sort_by_lit_features(x)
    assert sorted(features.tolist()) == list(range(inputs))
    assert sorted(np.concatenate([rows for rows, _ in blocks]).tolist()) == list(range(samples))
    for rows, width in blocks:
        assert 1 <= width <= inputs
        assert not x[np.ix_(rows, features[width:])].any()


def test_sorting_leaves_out_much_of_mnist():
    _, blocks = sort_by_lit_features(load_dataset("mnist").x_test)
    widths = [width for _, width in blocks]
    assert widths == sorted(widths)
    assert widths[-1] >= 668
    assert np.mean(widths) < 440
