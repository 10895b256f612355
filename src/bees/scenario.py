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
Sharing = Literal["per_user_channel", "equal_share", "contending", "full_band", "tdma", "min_time", "min_energy"]
PathLoss = Literal["power_law", "3gpp"]
Fading = Literal["none", "rayleigh"]
Downlink = Literal["free", "broadcast", "unicast"]
ServerQueue = Literal["none", "shared", "fifo"]
LowCharge = Literal["run_dry", "sit_out"]
RawDataSent = Literal["every_block", "once"]
Lookahead = Literal["block", "run"]
BackhaulModel = Literal["free", "full_mesh"]
IterationsReading = Literal["decoupled", "epochs"]
RawDataReading = Literal["published", "actual"]
UpdateReading = Literal["published", "encoded"]
UpdateEncoding = Literal["words", "delta16", "delta8"]
QuantisationError = Literal["fed_back", "dropped"]
Redraw = Literal["every_block", "once"]
PolicyName = Literal["local", "offload", "latency", "energy", "weighted", "battery", "lifetime", "lyapunov", "optimum"]
PartitionName = Literal["iid", "shards", "dirichlet", "quantity_skew"]
ModelName = Literal["mlp", "cnn"]
SelectionSet = Literal["test", "validation"]
ContractChoice = Annotated[str, Meta(min_length=1, max_length=4096)]
PolReading = Literal["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"]
VerificationReading = Literal["all_servers", "main_node"]
AttackName = Literal[
    "none",
    "label_flip",
    "sign_flip",
    "scaling",
    "gaussian",
    "zero",
    "noisy_free_rider",
    "mimic",
    "alie",
    "ipm",
    "min_max",
    "min_sum",
    "sybils",
    "backdoor",
    "model_replacement",
    "overfit_selection",
]
Knowledge = Literal["paper", "own", "all"]
ServerLie = Literal["none", "inflate", "deflate", "promote", "withhold", "overstate", "understate", "idle"]


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
        path_loss: ``power_law``: h = g0 r^-gamma, in the paper with g0 = 1. ``3gpp``: 128.1 + 37.6 log10(r in km) dB.
        path_loss_exponent: gamma; the paper gives none.
        reference_gain_db: g0, the gain at 1 m, for ``power_law``.
        shadowing_db: standard deviation of log-normal shadowing, drawn once for each UE; 0 is none, 3GPP has 8.
        fading: ``rayleigh`` multiplies h by Exp(1), drawn anew for each UE and block.
        sharing: how B is shared. ``per_user_channel``: B / server_capacity each. ``equal_share``: B over
            the UEs of the cell. ``contending``: B over all UEs that upload in the network. ``full_band``: B each.
            ``tdma``: B in turns, who is ready first sends first. ``min_time``: what makes the cell's slowest UE
            fastest. ``min_energy``: what costs the cell's UEs the least energy.
        raw_data_bytes: L_k of an offloading UE, "80 MB".
        raw_data_reading: ``published`` sends raw_data_bytes, ``actual`` the bytes that its n_k samples have.
        update_bytes: L_k of a UE that computes, "80 KB".
        update_reading: ``published`` sends update_bytes, and as many for w_g; ``encoded`` the bytes that an update has
            under learning.update_encoding, and 4 for each parameter of w_g.
        downlink: how w_g reaches the UEs. ``free``: in no time, as in the paper. ``broadcast``: once per cell, as fast
            as its farthest UE can follow. ``unicast``: to each UE over B / UEs of the cell.
        server_transmit_power_w: what a server radiates on the downlink.
        receive_power_w: what receiving takes from a UE's battery.
    """

    bandwidth_hz: Positive = 20e6
    transmit_power_db: float = 10.0
    power_reading: PowerReading = "db_watt"
    noise_psd_dbm_per_hz: float = -174.0
    noise_reading: NoiseReading = "psd_times_bandwidth"
    path_loss: PathLoss = "power_law"
    path_loss_exponent: Positive = 4.47
    reference_gain_db: float = 0.0
    shadowing_db: NonNegative = 0.0
    fading: Fading = "none"
    sharing: Sharing = "per_user_channel"
    raw_data_bytes: Positive = 80e6
    raw_data_reading: RawDataReading = "published"
    update_bytes: Positive = 80e3
    update_reading: UpdateReading = "published"
    downlink: Downlink = "free"
    server_transmit_power_w: Positive = 1.0
    receive_power_w: NonNegative = 0.0


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
        server_queue: how a server works for those who offload to it. ``none``: for each at full speed, as in the paper.
            ``shared``: its clock is divided among them. ``fifo``: one after the other, as their data arrives.
        server_effective_capacitance: kappa of a server; its energy is reported, and no battery pays for it.
        server_idle_power_w: what a server draws besides, for as long as a block lasts.
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
    server_queue: ServerQueue = "none"
    server_effective_capacitance: NonNegative = 1e-28
    server_idle_power_w: NonNegative = 0.0


class Battery(Section, frozen=True):
    """Batteries; the paper calls the devices battery-limited and gives no capacity.

    Attributes:
        device_capacity_j: what a full UE holds.
        device_initial_min: lower end of the uniform initial charge, as a fraction of the capacity.
        device_initial_max: upper end of it.
        server_capacity_j: the ledger account that a server starts with (B_k of Eq. 2).
        harvest_w: mean power that a UE harvests; of each block and UE U(0, 2 harvest_w). 0 is none, as in the paper.
        low_charge: what a UE does whose charge does not cover the block. ``run_dry``: it begins, and spends what it
            has. ``sit_out``: it waits.
    """

    device_capacity_j: Positive = 20e3
    device_initial_min: Fraction = 0.5
    device_initial_max: Fraction = 1.0
    server_capacity_j: Positive = 1e6
    harvest_w: NonNegative = 0.0
    low_charge: LowCharge = "run_dry"


class Timing(Section, frozen=True):
    """How long a communication round lasts.

    Attributes:
        deadline_s: after so many seconds an update comes too late: it has cost energy and does not count. 0 is none.
        interval_s: from one block to the next, as long as batteries harvest.
    """

    deadline_s: NonNegative = 0.0
    interval_s: Positive = 1.0


class Offloading(Section, frozen=True):
    """How each UE chooses d_k.

    Attributes:
        policy: ``local``, ``offload``, ``latency`` or ``energy`` (the smaller of the two choices), ``weighted`` (the
            smaller weighted sum of both), ``battery`` (offload when the charge is below the threshold), ``lifetime``
            (what lets the battery last longest, and the faster where both last to the end), ``lyapunov`` (drift
            plus penalty, for harvesting UEs) or ``optimum`` (the best joint decision of all UEs, by enumeration).
        battery_threshold: fraction of the capacity below which ``battery`` offloads.
        latency_weight: what a second counts in ``weighted`` and ``optimum``; a joule counts 1 less this.
        lyapunov_v_j2_per_s: V, what a second counts against the drift of the battery.
        lyapunov_theta: the charge that ``lyapunov`` steers to, as a fraction of the capacity.
        raw_data_sent: ``every_block``, as in the paper, or ``once``: then the server keeps it, and the UE only
            downloads.
        lookahead: what the policies compare, under ``raw_data_sent = "once"``: ``block``, what this block costs, or
            ``run``, the mean over all blocks left, in the first of which alone the raw data is sent.
    """

    policy: PolicyName = "latency"
    battery_threshold: Fraction = 0.2
    latency_weight: Fraction = 0.5
    lyapunov_v_j2_per_s: NonNegative = 1.0
    lyapunov_theta: Fraction = 0.5
    raw_data_sent: RawDataSent = "every_block"
    lookahead: Lookahead = "block"


class Backhaul(Section, frozen=True):
    """The network between the servers, over which they agree on blocks.

    Attributes:
        model: ``free``: agreement takes neither time nor energy, as in the paper's account. ``full_mesh``: each server
            sends to each other one over a link of its own rate.
        rate_bits_per_s: at which a server sends.
        delay_s: of propagation, one way.
        energy_j_per_bit: of sending and receiving together.
        heights: ledger blocks per communication round.
        transaction_bytes: of one transaction.
        vote_bytes: of one vote on a ledger block.
    """

    model: BackhaulModel = "free"
    rate_bits_per_s: Positive = 1e9
    delay_s: NonNegative = 0.005
    energy_j_per_bit: NonNegative = 1e-8
    heights: Count = 3
    transaction_bytes: Positive = 300.0
    vote_bytes: Positive = 150.0


class ProofOfWork(Section, frozen=True):
    """What mining the same blocks would have cost: a comparison, that no battery pays for.

    Attributes:
        hashes_per_block: expected; the default, 2^32, is Bitcoin's difficulty 1, the least that it allows.
        joules_per_hash: the default is of the order of a desktop processor, a quarter of a million hashes per joule.
    """

    hashes_per_block: NonNegative = 4294967296.0
    joules_per_hash: NonNegative = 4e-6


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
        update_encoding: how updates are spelled. ``words``: 4 bytes for each parameter. ``delta16``, ``delta8``: the
            difference to w_g(t-1) in 2 bytes or 1, times one power of two.
        quantisation_error: what becomes of the part of an update that ``delta16`` or ``delta8`` cannot say.
            ``fed_back`` adds it to the next update of the same UE; ``dropped`` loses it.
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
    update_encoding: UpdateEncoding = "words"
    quantisation_error: QuantisationError = "fed_back"


class Ledger(Section, frozen=True):
    """The chain's genesis.

    Attributes:
        contract: a packaged one, such as ``fedavg``, which averages the M best updates (Eq. 3), or ``argmax``, which
            takes the best one (B-EI); or the path of a .wasm file. The genesis takes its code.
        deploy_contract: what the servers change the contract to while the chain runs, by a Deploy that all of them
            approve: named as ``contract`` is, or ``none``.
        deploy_block: t, the round in which they do; the new contract is in force from the next one on.
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

    contract: ContractChoice = "fedavg"
    deploy_contract: ContractChoice = "none"
    deploy_block: Count = 1
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


class Attack(Section, frozen=True):
    """Who among the UEs and servers lies about what was learnt, and how; ``docs/security.md`` tells what comes of it.

    Attributes:
        name: what the attacking UEs do. ``none``: nothing, whatever the other knobs say. On their data: ``label_flip``,
            ``backdoor``, ``overfit_selection``. On their updates: ``sign_flip``, ``scaling``, ``gaussian``, ``zero``,
            ``noisy_free_rider``, ``mimic``, ``alie``, ``ipm``, ``min_max``, ``min_sum``. On both: ``sybils``,
            ``model_replacement``. Where a UE offloads, its server trains: then only its data can attack.
        fraction: of the UEs that attack: floor(fraction K) of them, drawn from the seed.
        first_block: t from which they do.
        strength: the factor or deviation that each attack has; 0 takes the attack's own.
        knowledge: what the attackers know of the round's updates. ``own``: what they would have sent themselves.
            ``all``: everybody's. ``paper``: as the paper of the attack assumes.
        target_label: what a backdoor makes of a sample that carries the trigger.
        trigger_pixels: side of the square in the last corner of an image that is the trigger.
        poisoned_fraction: of an attacker's samples that carry the trigger.
        lying_servers: how many servers lie, drawn from the seed.
        server_lie: what they do. ``inflate``: attest T of T for their own UEs. ``deflate``: attest 0 of T for all
            others. ``promote``: attest T for the attacking UEs and 0 for the rest. ``withhold``: attest that they hold
            nothing. ``overstate`` and ``understate``: sign for UEs that offload with 10 n_k, or with 1, for n_k.
            ``idle``: neither attest nor publish, to spare the battery.
    """

    name: AttackName = "none"
    fraction: Annotated[float, Meta(ge=0, le=0.5)] = 0.2
    first_block: Count = 1
    strength: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    knowledge: Knowledge = "paper"
    target_label: Annotated[int, Meta(ge=0, le=99_999)] = 0
    trigger_pixels: Count = 3
    poisoned_fraction: Fraction = 0.5
    lying_servers: Annotated[int, Meta(ge=0)] = 1
    server_lie: ServerLie = "none"


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
    timing: Timing = Timing()
    offloading: Offloading = Offloading()
    backhaul: Backhaul = Backhaul()
    proof_of_work: ProofOfWork = ProofOfWork()
    learning: Learning = Learning()
    ledger: Ledger = Ledger()
    attack: Attack = Attack()
