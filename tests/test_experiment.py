from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bees
from bees.core.errors import ChainFileError, DatasetError, InputError, ModelShapeError, ScenarioError
from bees.core.fixed_point import dequantise, words_to_bytes
from bees.core.model import describe
from bees.core.stopwatch import Stopwatch
from bees.edge.offloading import always_offload
from bees.engines.audit import verify_chain
from bees.experiment import Own, lay_groundwork, prepare, prepare_learning, split_data
from bees.founding import Members, Task, found
from bees.learning.datasets import make_dataset
from bees.learning.models import MLP, initial_weights
from bees.ledger.commitments import hash_model
from bees.scenario import Learning, Ledger, Offloading, Scenario, Topology
from bees.scenario_checks import check_any
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from bees.experiment import LearningWorld

ONE_HEIGHT = ["ledger.collect_heights=1", "offloading.policy=local"]
SMALL = ["learning.hidden=4", "blocks=1"]


def scenario(*changes: str) -> Scenario:
    return load_scenario("quick", [*SMALL, *changes])


def own_data(samples: int = 60, inputs: int = 3):
    draw = np.random.default_rng(0)
    return make_dataset(
        "own",
        {
            "x_train": draw.normal(size=(samples, inputs)).astype(np.float32),
            "y_train": np.arange(samples) % 2,
            "x_test": draw.normal(size=(20, inputs)).astype(np.float32),
            "y_test": np.arange(20) % 2,
        },
    )


# Data and model


@pytest.fixture(scope="module")
def world() -> LearningWorld:
    return prepare_learning(scenario())


def test_every_training_sample_goes_to_one_device():
    skewed = prepare_learning(scenario("learning.partition=quantity_skew"))
    assert skewed.samples.sum() == 6000
    assert len(skewed.samples) == 12
    assert skewed.samples.dtype == np.int64


def test_w_g_0_is_the_models_start_on_the_fixed_point_grid(world: LearningWorld):
    exponent = world.model.description.exponent
    start = initial_weights(world.model, scenario().seed)
    assert np.abs(dequantise(world.initial_words, exponent) - start).max() <= 2.0 ** -(exponent + 1)
    assert np.array_equal(world.initial_words, prepare_learning(scenario()).initial_words)
    assert not np.array_equal(world.initial_words, prepare_learning(scenario("seed=1")).initial_words)


def test_the_paper_selects_by_the_test_set(world: LearningWorld):
    assert world.selection is world.test
    assert len(world.test.evaluation_set) == 1000


def test_the_sound_reading_selects_by_samples_that_nobody_trains_on():
    sound = prepare_learning(scenario("learning.selection_set=validation", "learning.validation_samples=600"))
    assert sound.selection is not sound.test
    assert len(sound.selection.evaluation_set) == 600
    assert sound.samples.sum() == 5400
    assert sound.selection.evaluation_set.hash != sound.test.evaluation_set.hash


def test_a_score_is_a_count_and_an_accuracy_its_share(world: LearningWorld):
    weights = dequantise(world.initial_words, world.model.description.exponent)
    (count,) = world.score(weights[np.newaxis])
    assert world.test_accuracy(world.initial_words) == pytest.approx(count / 1000)


def test_own_data_and_model_are_taken():
    data = own_data()
    model = MLP(inputs=3, hidden=2, classes=2, exponent=20)
    mine = prepare_learning(scenario("topology.devices=4"), Own(model=model, dataset=data))
    assert mine.model is model
    assert mine.samples.sum() == 60
    assert mine.sample_bytes == 3
    assert len(mine.initial_words) == model.description.parameters


def test_more_devices_than_samples_are_refused_by_key():
    with pytest.raises(ScenarioError, match=r"topology\.devices"):
        prepare_learning(scenario(), Own(dataset=own_data(samples=5)))


def test_unknown_data_is_refused_by_name():
    with pytest.raises(DatasetError, match=r"nowhere\.npz"):
        prepare_learning(scenario("learning.dataset=nowhere.npz"))


@pytest.mark.parametrize("source", ["mine.toml", "scenario"])
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("topology.devices=6001", "topology.devices"),
        ("learning.selection_set=validation", "learning.validation_samples"),
        ("learning.dataset=nowhere.npz", "learning.dataset"),
        ("learning.dataset=minst", "learning.dataset"),
    ],
)
def test_a_conflict_with_the_data_names_file_and_key(source: str, change: str, key: str):
    with pytest.raises(InputError) as caught:
        prepare_learning(scenario("topology.servers=300", change), source=source)
    assert caught.value.source == source
    assert str(caught.value).startswith(f"{source}: {key} = ")


def test_data_that_a_path_names_is_the_data_itself(tmp_path: Path):
    data = own_data()
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "own.npz", **arrays)
    one = scenario("topology.devices=4")
    worlds = [prepare_learning(one, Own(dataset=of)) for of in (data, tmp_path / "own.npz", str(tmp_path / "own.npz"))]
    assert len({world.test.evaluation_set.hash for world in worlds}) == 1
    with pytest.raises(DatasetError, match=r"^nowhere\.npz: no such file"):
        prepare_learning(one, Own(dataset="nowhere.npz"))


# What is made in Python instead of read from a file


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (Scenario(blocks=0), "blocks"),
        (Scenario(seed=-1), "seed"),
        (Scenario(blocks="3"), "blocks"),  # pyright: ignore[reportArgumentType]  # what it is about
        (Scenario(topology=None), "topology"),  # pyright: ignore[reportArgumentType]  # likewise
        (Scenario(topology=Topology(devices=12), ledger=Ledger(top_m=99)), "ledger.top_m"),
        (Scenario(learning=Learning(learning_rate=float("nan"))), "learning.learning_rate"),
        (Scenario(learning=Learning(model="mpl")), "learning.model"),  # pyright: ignore[reportArgumentType]
    ],
)
@pytest.mark.parametrize("entrance", [split_data, prepare_learning, lay_groundwork])
def test_a_scenario_made_in_python_is_checked_like_a_file(entrance: Any, made: Scenario, key: str):
    with pytest.raises(ScenarioError) as caught:
        entrance(made)
    assert (caught.value.source, caught.value.key) == ("scenario", key)


@pytest.mark.parametrize("wrong", [None, {"blocks": 3}, 7, Learning(), Scenario(blocks=object())])  # pyright: ignore[reportArgumentType]
def test_what_is_no_scenario_is_refused(wrong: Any):
    with pytest.raises(InputError, match=r"^scenario: "):
        prepare_learning(wrong)


def test_numbers_of_numpy_are_numbers():
    made = Scenario(blocks=np.int64(3), learning=Learning(learning_rate=np.float32(0.5)))  # pyright: ignore[reportArgumentType]
    checked = check_any(made)
    assert checked == Scenario(blocks=3, learning=Learning(learning_rate=0.5))
    assert (type(checked.blocks), type(checked.learning.learning_rate)) == (int, float)


class Linear:
    """A model of the user's own, for samples of ``inputs`` numbers."""

    def __init__(self, inputs: int, classes: int) -> None:
        shapes = [("weight", (classes, inputs)), ("bias", (classes,))]
        self.description = describe("linear", shapes, exponent=20)

    def init(self, draw: np.random.Generator) -> Any:
        return draw.normal(size=self.description.parameters).astype(np.float32)

    def logits(self, arrays: Any, x: Any) -> Any:
        weight, bias = arrays
        return x @ weight.T + bias


@pytest.mark.parametrize("classes", [2, 5])
def test_a_model_of_the_users_own_may_have_more_logits_than_classes(classes: int):
    mine = prepare_learning(scenario("topology.devices=4"), Own(model=Linear(3, classes), dataset=own_data()))
    assert 0 <= mine.test_accuracy(mine.initial_words) <= 1


@pytest.mark.parametrize("model", [Linear(4, 2), Linear(3, 1), MLP(4, 2, 2), MLP(3, 2, 1)])
def test_a_model_that_does_not_fit_the_data_is_refused(model: Any):
    with pytest.raises(ModelShapeError, match="logits of the 3 numbers"):
        prepare_learning(scenario("topology.devices=4"), Own(model=model, dataset=own_data()))


@pytest.mark.parametrize(
    ("attribute", "value"), [("init", None), ("logits", 7), ("description", "linear-3-2"), ("description", None)]
)
def test_what_lacks_a_member_is_no_model(attribute: str, value: object):
    model = Linear(3, 2)
    setattr(model, attribute, value)
    with pytest.raises(InputError, match=f"^model: Linear lacks {attribute}; a model needs"):
        prepare_learning(scenario("topology.devices=4"), Own(model=model, dataset=own_data()))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"y_train": np.full(60, 2, np.int32)}, "y_train holds the label 2, but classes = 2"),
        ({"y_test": np.full(20, -1, np.int32)}, "y_test holds the label -1"),
        ({"y_test": np.zeros(19, np.int32)}, "y_test has shape"),
        ({"y_train": np.zeros(60)}, "y_train must be"),
        ({"x_train": np.zeros((60, 3))}, "x_train must be"),
        ({"x_test": [[0.0] * 3] * 20}, "x_test must be"),
        ({"x_test": np.full((20, 3), np.nan, np.float32)}, "x_test holds NaN"),
        ({"x_test": np.zeros((20, 4), np.float32)}, "x_train has 3 numbers per sample, but x_test has 4"),
        ({"image_shape": (2, 2)}, "image_shape"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(changes: dict[str, Any], problem: str):
    with pytest.raises(DatasetError, match=f"^dataset: .*{problem}"):
        prepare_learning(scenario("topology.devices=4"), Own(dataset=replace(own_data(), **changes)))


@pytest.mark.parametrize("wrong", [7, {"x_train": [1]}, (1, 2)])
def test_what_is_no_dataset_is_refused(wrong: Any):
    with pytest.raises(DatasetError, match=r"^dataset: is a "):
        prepare_learning(scenario(), Own(dataset=wrong))


def test_what_is_no_policy_is_refused():
    with pytest.raises(InputError, match=r"^policy: is a str"):
        lay_groundwork(scenario(), Own(policy="latency"))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("policy", ["latency", "offload", "energy", "battery"])
def test_offloading_needs_two_heights_to_collect(policy: Any):
    made = Scenario(offloading=Offloading(policy=policy), ledger=Ledger(collect_heights=1))
    with pytest.raises(ScenarioError, match=policy) as caught:
        lay_groundwork(made)
    assert caught.value.key == "ledger.collect_heights"


def test_a_policy_of_the_users_own_needs_them_too():
    with pytest.raises(ScenarioError, match="policy of your own") as caught:
        lay_groundwork(scenario(*ONE_HEIGHT), Own(policy=always_offload))
    assert caught.value.key == "ledger.collect_heights"


def test_one_height_does_where_nobody_offloads_and_two_where_everybody_does():
    one = bees.run(scenario(*ONE_HEIGHT))
    two = bees.run(scenario("ledger.collect_heights=2", "offloading.policy=offload", "battery.device_capacity_j=1e9"))
    assert [result.rounds[0].offloading_devices for result in (one, two)] == [0, 12]
    assert [result.rounds[0].eligible_updates for result in (one, two)] == [12, 12]


# Everything for a run


def test_the_chain_is_founded_on_what_is_learnt_and_who_is_there():
    one = scenario()
    with prepare(one) as experiment:
        genesis, learning = experiment.chain.state.genesis, experiment.learning
        assert genesis.model == learning.model.description
        assert genesis.initial_model == hash_model(words_to_bytes(learning.initial_words))
        assert genesis.evaluation_set == learning.selection.evaluation_set.hash
        assert genesis.evaluation_samples == 1000
        assert [device.server for device in genesis.devices] == list(experiment.edge.world.server_of_device)
        assert [device.sample_cap for device in genesis.devices] == list(learning.samples)
        signers = ((experiment.server_signers, genesis.servers), (experiment.device_signers, genesis.devices))
        for made, records in signers:
            assert [signer.key.public_key for signer in made] == [record.public_key for record in records]
        assert np.array_equal(experiment.chain.global_model, learning.initial_words)


def test_anybody_can_found_the_same_chain_from_the_scenario():
    with prepare(scenario()) as experiment:
        learning, world = experiment.learning, experiment.edge.world
        members = Members(world.servers, world.server_of_device, learning.samples)
        evaluation = learning.selection.evaluation_set
        task = Task(learning.model.description, learning.initial_words, evaluation.hash, len(evaluation))
        chain_id = found(scenario(), members, task).genesis.genesis.chain_id
        assert experiment.chain.state.genesis.chain_id == chain_id


def test_every_device_starts_with_a_part_of_its_battery():
    with prepare(scenario("battery.device_capacity_j=40", "battery.device_initial_min=0.5")) as experiment:
        assert experiment.initial_charge_j.shape == (12,)
        assert (experiment.initial_charge_j >= 20).all()
        assert (experiment.initial_charge_j <= 40).all()


def test_each_participant_has_a_journal_of_its_own():
    with prepare(scenario()) as experiment:
        journals = [signer.journal for signer in (*experiment.server_signers, *experiment.device_signers)]
        assert len({id(journal) for journal in journals}) == len(journals) == 4 + 12


def test_the_chain_file_is_closed_when_the_run_is_left(tmp_path: Path):
    def fail() -> None:
        with prepare(scenario(), chain_file=tmp_path / "chain.db") as experiment:
            experiment.chain.next_block()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["chain.db"]
    verdict = verify_chain(tmp_path / "chain.db")
    assert (verdict.valid, verdict.blocks) == (True, 1)


def test_a_chain_file_that_exists_is_refused(tmp_path: Path):
    (tmp_path / "chain.db").write_bytes(b"precious")
    with pytest.raises(ChainFileError, match="exists already"), prepare(scenario(), chain_file=tmp_path / "chain.db"):
        pass


def test_the_timer_and_the_switch_for_checks_are_handed_on():
    watch = Stopwatch()
    with prepare(scenario(), share_checks=False, timer=watch) as experiment:
        assert (experiment.timer, experiment.share_checks) == (watch, False)
        experiment.chain.next_block()
    assert "consensus" in watch.seconds
