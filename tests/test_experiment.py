from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.core.errors import ChainFileError, DatasetError, ScenarioError
from bees.core.fixed_point import dequantise, words_to_bytes
from bees.core.stopwatch import Stopwatch
from bees.engines.audit import verify_chain
from bees.experiment import Own, prepare, prepare_learning
from bees.founding import Members, Task, found
from bees.learning.datasets import make_dataset
from bees.learning.models import MLP, initial_weights
from bees.ledger.commitments import hash_model
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from bees.experiment import LearningWorld
    from bees.scenario import Scenario

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
