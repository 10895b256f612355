"""Data, model, edge world and chain for one scenario: all that Algorithm 1 needs before its first line."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from bees.adversary.learning.adversary import gather, poison_data
from bees.adversary.learning.lies import draw_lying_servers
from bees.adversary.learning.poisoning import triggered_test_set
from bees.contract.vm import VirtualMachine
from bees.core.errors import DatasetError, InputError, ScenarioError
from bees.core.fixed_point import dequantise, quantise
from bees.core.stopwatch import untimed
from bees.edge.battery import initial_charge_j
from bees.edge.physics import build_edge
from bees.engines.local_chain import LocalChain
from bees.founding import Members, Task, found
from bees.learning.datasets import check_dataset, load_dataset
from bees.learning.evaluation import Evaluator
from bees.learning.models import build_model, check_model, initial_weights
from bees.learning.partition import make_partition, selection_split
from bees.learning.training import LocalTrainer
from bees.protocol.signer import MemoryJournal, Signer
from bees.protocol.update_speller import UpdateSpeller
from bees.scenario_checks import check_any, delegation_conflicts, refuse_any

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from bees.adversary.learning.adversary import Adversary
    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.core.model import ModelDescription
    from bees.core.stopwatch import PhaseTimer
    from bees.edge.offloading import Policy
    from bees.edge.physics import Edge
    from bees.founding import Founding
    from bees.learning.datasets import Dataset, EvaluationSet
    from bees.learning.models import Model
    from bees.learning.partition import Partition
    from bees.scenario import Learning, Scenario

_PIXEL_BYTES = 1
"""A raw sample is offloaded as its features, a byte each, as MNIST has them."""


@dataclass(frozen=True)
class Own:
    """What a user brings instead of the scenario's choice; None leaves it to the scenario.

    Attributes:
        model: an own model.
        dataset: own data, or the name or path of such.
        policy: an own offloading policy.
    """

    model: Model | None = None
    dataset: Dataset | str | Path | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class LearningWorld:
    """Data and model.

    Attributes:
        model: what is trained.
        trainer: local SGD of any set of UEs.
        selection: scores updates, on the set that the scenario selects by.
        test: scores w_g, on the test set.
        samples: n_k, shape (K,).
        sample_bytes: size of one raw sample.
        initial_words: of w_g(0), shape (P,).
        adversary: the UEs that attack, if there are any.
        backdoor: scores w_g by the marked test samples that it takes for the target; None without a backdoor.
    """

    model: Model
    trainer: LocalTrainer
    selection: Evaluator
    test: Evaluator
    samples: NDArray[np.int64]
    sample_bytes: int
    initial_words: Words
    adversary: Adversary
    backdoor: Evaluator | None

    def score(self, models: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many samples of the selection set each model, shape (K, P), gets right."""
        return self.selection.evaluate_all(models)

    def test_accuracy(self, words: Words) -> float:
        """Fraction of the test set that the model of these words gets right."""
        return self.test.accuracy(dequantise(words, self.model.description.exponent))

    def backdoor_success(self, words: Words) -> float | None:
        """Fraction of the marked test samples of other labels that the model of these words takes for the target."""
        if self.backdoor is None:
            return None
        return self.backdoor.accuracy(dequantise(words, self.model.description.exponent))


@dataclass(frozen=True)
class Experiment:
    """Everything that a simulation needs.

    Attributes:
        scenario: what is run.
        learning: data and model.
        edge: the radio-and-battery world.
        initial_charge_j: of the batteries, shape (K,).
        chain: replicas and chain file.
        server_signers: in the order of the servers.
        device_signers: in the order of the devices.
        share_checks: whether servers of this process do identical checks once.
        timer: takes the time by phase.
        speller: spells updates as the genesis says, and remembers what that has left unsaid.
        next_contract: code that the servers deploy in round ``ledger.deploy_block``, or None.
        lying_servers: those that lie from ``attack.first_block`` on.
    """

    scenario: Scenario
    learning: LearningWorld
    edge: Edge
    initial_charge_j: NDArray[np.float64]
    chain: LocalChain
    server_signers: tuple[Signer, ...]
    device_signers: tuple[Signer, ...]
    share_checks: bool
    timer: PhaseTimer
    speller: UpdateSpeller
    next_contract: bytes | None = None
    lying_servers: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class SplitData:
    """The data of a scenario, and who holds what of it.

    Attributes:
        dataset: all of it.
        training: what the UEs hold.
        selection_set: by which UEs are ranked and selected.
        partition: the training samples of each UE.
    """

    dataset: Dataset
    training: Dataset
    selection_set: EvaluationSet
    partition: Partition

    @property
    def samples(self) -> NDArray[np.int64]:
        """n_k, shape (K,)."""
        return self.partition.n.astype(np.int64)

    @property
    def sample_bytes(self) -> int:
        """Size of one raw sample."""
        return self.dataset.inputs * _PIXEL_BYTES


def split_data(scenario: Scenario, own: Own = Own(), *, source: str = "scenario") -> SplitData:
    """Load the data and split it among the UEs.

    Args:
        scenario: what to run.
        own: what the user brings.
        source: the file or option to name when scenario and data contradict each other.

    Raises:
        DatasetError: the data is broken.
        ScenarioError: scenario and data contradict each other, such as more UEs than samples.
    """
    scenario = check_any(scenario, source)
    learning, seed = scenario.learning, scenario.seed
    with _naming(source, scenario, own):
        dataset = _own_or_named(own.dataset, learning.dataset)
        training, selection_set = selection_split(dataset, learning, seed)
        partition = make_partition(learning, training.y_train, scenario.topology.devices, seed)
    return SplitData(dataset, training, selection_set, partition)


def prepare_learning(scenario: Scenario, own: Own = Own(), *, source: str = "scenario") -> LearningWorld:
    """Load the data, split it among the UEs, and make the model.

    Args:
        scenario: what to run.
        own: what the user brings.
        source: the file or option to name when scenario and data contradict each other.

    Raises:
        DatasetError: the data is broken.
        InputError: the own model lacks what a model needs.
        ModelShapeError: the own model does not fit the data.
        ScenarioError: scenario and data contradict each other, such as more UEs than samples.
    """
    scenario = check_any(scenario, source)
    data = split_data(scenario, own, source=source)
    with _naming(source, scenario, own):
        model = _own_or_built(own.model, scenario.learning, data.dataset)
        adversary = gather(scenario, data.dataset)
    models_per_chunk = min(scenario.topology.devices, 100)
    test = Evaluator(model, data.dataset.test_set, models_per_chunk=models_per_chunk)
    by_test = scenario.learning.selection_set == "test"
    training, partition = poison_data(adversary, data.training, data.partition, data.selection_set)
    marked = triggered_test_set(data.dataset, adversary.trigger) if adversary.trigger else None
    return LearningWorld(
        model=model,
        trainer=LocalTrainer(model, training, partition, scenario.learning, scenario.seed),
        selection=test if by_test else Evaluator(model, data.selection_set, models_per_chunk=models_per_chunk),
        test=test,
        samples=data.samples,
        sample_bytes=data.sample_bytes,
        initial_words=quantise(initial_weights(model, scenario.seed), model.description.exponent),
        adversary=adversary,
        backdoor=None if marked is None else Evaluator(model, marked, models_per_chunk=1),
    )


@dataclass(frozen=True)
class Groundwork:
    """What a scenario stands for before anything is written: all that can be wrong with it has been found by then.

    Attributes:
        scenario: what is run.
        learning: data and model.
        edge: the radio-and-battery world.
        founding: the genesis and the keys.
    """

    scenario: Scenario
    learning: LearningWorld
    edge: Edge
    founding: Founding


def lay_groundwork(scenario: Scenario, own: Own = Own(), *, source: str = "scenario") -> Groundwork:
    """Data, model, edge world and genesis, in memory only.

    Args:
        scenario: what to run.
        own: what the user brings.
        source: the file or option to name when something is wrong with the scenario.

    Raises:
        DatasetError: the data is broken.
        InputError: the own model or policy is none.
        ModelShapeError: the own model does not fit the data.
        ScenarioError: the scenario contradicts itself or the data.
    """
    scenario = check_any(scenario, source)
    if own.policy is not None:
        _check_policy(own.policy, scenario, source)
    learning = prepare_learning(scenario, own, source=source)
    with _naming(source, scenario, own):
        edge = build_edge(
            scenario,
            learning.samples,
            sample_bytes=learning.sample_bytes,
            parameters=learning.model.description.parameters,
            policy=own.policy,
        )
    members = Members(edge.world.servers, edge.world.server_of_device, learning.samples)
    evaluation_set = learning.selection.evaluation_set
    model = _as_spelled(scenario.learning, learning.model.description)
    task = Task(model, learning.initial_words, evaluation_set.hash, len(evaluation_set))
    return Groundwork(scenario, learning, edge, found(scenario, members, task))


@contextmanager
def open_experiment(
    groundwork: Groundwork,
    *,
    chain_file: Path | None = None,
    resumes: bool = False,
    share_checks: bool = True,
    timer: PhaseTimer = untimed,
) -> Generator[Experiment]:
    """The chain upon the groundwork; leaving the context closes it.

    Args:
        groundwork: what to run.
        chain_file: where to keep the ledger, or None to keep it in memory only.
        resumes: whether the chain file is there already, and the run goes on from its end.
        share_checks: whether servers of this process do identical checks once.
        timer: takes the time by phase.

    Raises:
        ChainFileError: the chain file cannot be written.
    """
    scenario, learning, founding = groundwork.scenario, groundwork.learning, groundwork.founding
    chain = LocalChain(
        founding.genesis,
        founding.server_keys,
        VirtualMachine(founding.genesis.genesis.virtual_machine),
        learning.initial_words,
        path=chain_file,
        resumes=resumes,
        share_checks=share_checks,
        timer=timer,
    )
    with chain:
        yield Experiment(
            scenario=scenario,
            learning=learning,
            edge=groundwork.edge,
            initial_charge_j=initial_charge_j(scenario.battery, len(learning.samples), scenario.seed),
            chain=chain,
            server_signers=_signers(founding.server_keys),
            device_signers=_signers(founding.device_keys),
            share_checks=share_checks,
            timer=timer,
            speller=make_speller(scenario.learning, learning.model.description),
            next_contract=founding.next_contract,
            lying_servers=draw_lying_servers(scenario.attack, len(founding.server_keys), scenario.seed),
        )


def make_speller(learning: Learning, model: ModelDescription) -> UpdateSpeller:
    """What spells the updates of this model as the scenario says."""
    feeds_back = learning.quantisation_error == "fed_back"
    return UpdateSpeller(_as_spelled(learning, model), feeds_back=feeds_back)


def _as_spelled(learning: Learning, model: ModelDescription) -> ModelDescription:
    """The description for the genesis: the scenario, and not the model, says how updates are spelled."""
    return replace(model, update_encoding=learning.update_encoding)


@contextmanager
def prepare(
    scenario: Scenario,
    own: Own = Own(),
    *,
    chain_file: Path | None = None,
    share_checks: bool = True,
    timer: PhaseTimer = untimed,
    source: str = "scenario",
) -> Generator[Experiment]:
    """Groundwork and chain in one; leaving the context closes the chain.

    Args:
        scenario: what to run.
        own: what the user brings.
        chain_file: where to keep the ledger, or None to keep it in memory only.
        share_checks: whether servers of this process do identical checks once.
        timer: takes the time by phase.
        source: the file or option to name when something is wrong with the scenario.

    Raises:
        DatasetError: the data is broken.
        InputError: the own model or policy is none.
        ModelShapeError: the own model does not fit the data.
        ScenarioError: the scenario contradicts itself or the data.
        ChainFileError: the chain file cannot be written.
    """
    groundwork = lay_groundwork(scenario, own, source=source)
    with open_experiment(groundwork, chain_file=chain_file, share_checks=share_checks, timer=timer) as experiment:
        yield experiment


@contextmanager
def _naming(source: str, scenario: Scenario, own: Own) -> Generator[None]:
    """Let refusals name the file that the scenario came from, and the key that the data came from."""
    try:
        yield
    except ScenarioError as error:
        error.source = source
        raise
    except DatasetError as error:
        if own.dataset is None:
            name = scenario.learning.dataset
            at_fault = "" if error.source == name else f"{error.source}: "
            error.problem = f"learning.dataset = {name!r}: {at_fault}{error.problem}"
            error.source = source
        raise


def _own_or_named(own: Dataset | str | Path | None, name: str) -> Dataset:
    if own is None or isinstance(own, str | Path):
        return load_dataset(name if own is None else own)
    check_dataset(own)
    return own


def _own_or_built(own: Model | None, learning: Learning, dataset: Dataset) -> Model:
    if own is None:
        return build_model(learning, dataset)
    check_model(own, dataset.inputs, dataset.classes)
    return own


def _check_policy(policy: object, scenario: Scenario, source: str) -> None:
    if not callable(policy):
        wanted = "a function of bees.edge.offloading.Choices is needed"
        raise InputError("policy", f"is a {type(policy).__name__}; {wanted}")
    refuse_any(delegation_conflicts(scenario, own_policy=True), source)


def _signers(keys: tuple[SigningKey, ...]) -> tuple[Signer, ...]:
    return tuple(Signer(key, MemoryJournal()) for key in keys)
