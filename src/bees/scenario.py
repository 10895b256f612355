"""Every knob of an experiment, frozen, with its unit in its name. The defaults are the paper's scenario.

Where the paper leaves something open or contradicts itself, the knob is a *reading*: a named choice between
the paper's literal words and the sound ones (``docs/readings.md`` tells what each changes).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

Crowding = Literal["scaled", "more_servers"]
Placement = Literal["drawn", "geometric"]
PowerReading = Literal["db_watt", "db_milliwatt"]
NoiseReading = Literal["psd_times_bandwidth", "psd_only"]
Sharing = Literal["per_user_channel", "equal_share", "contending", "full_band"]
IterationsReading = Literal["decoupled", "epochs"]
RawDataReading = Literal["published", "actual"]
Redraw = Literal["every_block", "once"]
PolicyName = Literal["local", "offload", "latency", "energy", "battery"]
PartitionName = Literal["iid", "shards", "dirichlet", "quantity_skew"]
ModelName = Literal["mlp", "cnn"]
SelectionSet = Literal["test", "validation"]
ContractName = Literal["fedavg", "argmax"]
PolReading = Literal["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"]
VerificationReading = Literal["all_servers", "main_node"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the scenario's sections."""


class Topology(Section, frozen=True):
    """Who is where (paper, section IV-A).

    Attributes:
        servers: N, the edge servers (SBS).
        devices: K, the user equipments (UE).
        devices_per_server_min: lower end of U(3, 7).
        devices_per_server_max: upper end of U(3, 7).
        server_capacity: the most UEs that one picocell serves at once.
        distance_min_m: lower end of U(100, 250) m.
        distance_max_m: upper end of U(100, 250) m.
        crowding: what happens when N servers with U(3, 7) UEs do not make K: ``scaled`` widens the range
            around K/N, ``more_servers`` keeps the range and changes N to K/5.
        placement: ``drawn`` draws each distance, as the paper does; ``geometric`` puts servers and UEs on a
            plane and takes the nearest server.
    """

    servers: Count = 20
    devices: Count = 100
    devices_per_server_min: Count = 3
    devices_per_server_max: Count = 7
    server_capacity: Count = 30
    distance_min_m: Positive = 100.0
    distance_max_m: Positive = 250.0
    crowding: Crowding = "scaled"
    placement: Placement = "drawn"


class Radio(Section, frozen=True):
    """The channel between a UE and its SBS (Eq. 5, 6, 8).

    Attributes:
        bandwidth_hz: B.
        transmit_power_db: p, "10 dB" in the paper.
        power_reading: ``db_watt`` reads 10 dB as 10 W, ``db_milliwatt`` as 10 mW.
        noise_psd_dbm_per_hz: N0.
        noise_reading: ``psd_times_bandwidth`` divides by N0 b_k, the noise power; ``psd_only`` by N0, as Eq. 5
            is printed.
        path_loss_exponent: gamma; the paper gives none.
        sharing: how B is shared. ``per_user_channel``: B / server_capacity each. ``equal_share``: B over
            the UEs of the cell. ``contending``: B over all UEs that upload in the network. ``full_band``: B each.
        raw_data_bytes: L_k of an offloading UE, "80 MB".
        raw_data_reading: ``published`` sends raw_data_bytes, ``actual`` the bytes that its n_k samples have.
        update_bytes: L_k of a UE that computes, "80 KB".
    """

    bandwidth_hz: Positive = 20e6
    transmit_power_db: float = 10.0
    power_reading: PowerReading = "db_watt"
    noise_psd_dbm_per_hz: float = -174.0
    noise_reading: NoiseReading = "psd_times_bandwidth"
    path_loss_exponent: Positive = 4.47
    sharing: Sharing = "per_user_channel"
    raw_data_bytes: Positive = 80e6
    raw_data_reading: RawDataReading = "published"
    update_bytes: Positive = 80e3


class Computation(Section, frozen=True):
    """CPUs of UEs and servers (Eq. 4, 7).

    Attributes:
        cycles_per_sample_min: lower end of C_k for a UE.
        cycles_per_sample_max: upper end of C_k for a UE.
        server_cycles_per_sample_min: lower end of C_k for a server.
        server_cycles_per_sample_max: upper end of C_k for a server.
        cpu_frequency_hz: f_k of a UE; the paper gives none.
        server_cpu_frequency_hz: f_k of a server; the paper gives none.
        local_iterations: L_k of Eq. 4 and 7; the paper gives none.
        iterations_reading: ``decoupled`` takes local_iterations, ``epochs`` the epochs that are really trained.
        effective_capacitance: kappa.
        redraw: whether C_k is drawn again for every block, or once.
    """

    cycles_per_sample_min: Positive = 1e4
    cycles_per_sample_max: Positive = 3e4
    server_cycles_per_sample_min: Positive = 1e2
    server_cycles_per_sample_max: Positive = 3e2
    cpu_frequency_hz: Positive = 5.75e9
    server_cpu_frequency_hz: Positive = 5.75e9
    local_iterations: Positive = 18.6
    iterations_reading: IterationsReading = "decoupled"
    effective_capacitance: Positive = 1e-28
    redraw: Redraw = "every_block"


class Battery(Section, frozen=True):
    """Batteries; the paper calls the devices battery-limited and gives no capacity.

    Attributes:
        device_capacity_j: what a full UE holds.
        device_initial_min: lower end of the uniform initial charge, as a fraction of the capacity.
        device_initial_max: upper end of it.
        server_capacity_j: the ledger account that a server starts with (B_k of Eq. 2).
    """

    device_capacity_j: Positive = 20e3
    device_initial_min: Fraction = 0.5
    device_initial_max: Fraction = 1.0
    server_capacity_j: Positive = 1e6


class Offloading(Section, frozen=True):
    """How each UE chooses d_k.

    Attributes:
        policy: ``local``, ``offload``, ``latency`` or ``energy`` (the smaller of the two choices), or
            ``battery`` (offload when the charge is below the threshold).
        battery_threshold: fraction of the capacity below which ``battery`` offloads.
    """

    policy: PolicyName = "latency"
    battery_threshold: Fraction = 0.2


class Learning(Section, frozen=True):
    """What is learnt, from which data, and how (Eq. 1, Algorithm 1).

    Attributes:
        dataset: ``mnist`` (packaged), ``mnist-7x7`` (the first of it, pooled to 7 x 7 pixels), or the path of an
            .npz file with x_train, y_train, x_test, y_test. Such a path is relative to the folder in which the
            command runs, also in a TOML file (whereas ``extends`` is relative to that file).
        model: ``mlp`` (inputs-hidden-classes) or ``cnn``.
        hidden: width of the hidden layer of the MLP.
        partition: how the training samples are split among the UEs.
        dirichlet_alpha: concentration of ``dirichlet`` and ``quantity_skew``.
        shards_per_device: label-sorted shards that each UE gets under ``shards``.
        epochs: E, local epochs per block.
        batch_size: size of a local mini-batch.
        learning_rate: alpha of local SGD.
        selection_set: ``test`` ranks the UEs by test accuracy, as the paper does; ``validation`` by samples held out
            of the training set, so that the test set stays unseen.
        validation_samples: how many samples ``validation`` holds out.
        clients_per_chunk: UEs that one thread trains in one go; bounds memory, and changes no result.
        exponent: e of the fixed-point codec.
    """

    dataset: str = "mnist"
    model: ModelName = "mlp"
    hidden: Count = 25
    partition: PartitionName = "dirichlet"
    dirichlet_alpha: Positive = 0.5
    shards_per_device: Count = 2
    epochs: Count = 1
    batch_size: Count = 10
    learning_rate: Positive = 0.01
    selection_set: SelectionSet = "test"
    validation_samples: Count = 10_000
    clients_per_chunk: Count = 10
    exponent: Annotated[int, Meta(ge=0, le=30)] = 24


class Ledger(Section, frozen=True):
    """The chain's genesis.

    Attributes:
        contract: ``fedavg`` averages the M best updates (Eq. 3); ``argmax`` takes the best one (B-EI).
        top_m: M, how many UEs are selected.
        pol: how Proof of Learning ranks the servers. ``capacity_over_battery`` is Eq. 2.
        server_capacity_hz_min: lower end of the registered c_k.
        server_capacity_hz_max: upper end of the registered c_k.
        collect_heights: heights after which COLLECT closes even if updates are missing.
        attest_heights: heights after which ATTEST closes even if attestations are missing.
        publish_heights: heights that each rank has to publish.
        publish_ranks: ranks that are tried before the round is skipped. With more than f of N = 3f+1, an honest
            server has its turn in every round.
        attest_cost_j: what one attestation costs a server's ledger account.
        publish_cost_j: what one publication costs it.
        harvest_j: what it gains per round.
        penalty_rounds: for how many rounds after its offence a convicted participant has no turn.
        verification: ``all_servers`` verify updates and execute the contract, or the ``main_node`` alone, as the
            paper has it; the others then take its word.
        fuel: limit of one contract call; an auditor judges no chain that grants more than the upper bound.
    """

    contract: ContractName = "fedavg"
    top_m: Count = 10
    pol: PolReading = "capacity_over_battery"
    server_capacity_hz_min: Positive = 2e9
    server_capacity_hz_max: Positive = 4e9
    collect_heights: Count = 3
    attest_heights: Count = 3
    publish_heights: Count = 2
    publish_ranks: Count = 7
    attest_cost_j: NonNegative = 50.0
    publish_cost_j: NonNegative = 20.0
    harvest_j: NonNegative = 0.0
    penalty_rounds: Annotated[int, Meta(ge=0, le=2**31)] = 10
    verification: VerificationReading = "all_servers"
    fuel: Annotated[int, Meta(ge=1, le=100_000_000_000)] = 1_000_000_000


class Scenario(Section, frozen=True):
    """One experiment.

    Attributes:
        name: goes into the run folder's name and the genesis.
        blocks: T, communication rounds.
        seed: of everything that is drawn.
    """

    name: Name = "bees"
    blocks: Count = 50
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    topology: Topology = Topology()
    radio: Radio = Radio()
    computation: Computation = Computation()
    battery: Battery = Battery()
    offloading: Offloading = Offloading()
    learning: Learning = Learning()
    ledger: Ledger = Ledger()
