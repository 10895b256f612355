"""``node.toml``: how one edge server runs on its machine. Everything that servers must agree on is in the genesis."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from bees.core.errors import InputError, did_you_mean
from bees.toml_file import read_toml_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ABSENT = "cannot be read: there is no such file"
_MEGABYTE = 10**6

Count = Annotated[int, Meta(ge=1, le=10**9)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Address = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]
Url = Annotated[str, Meta(pattern=r"^(https?://[^/\s]+)?$")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class HttpSection(Section, frozen=True):
    """A listener.

    Attributes:
        listen: host:port.
        certificate: PEM file of the certificate chain; with it, the listener speaks TLS.
        certificate_key: PEM file of its private key.
        connections: open at once; more are turned away.
        connections_per_address: of these, from one address; in IPv6, from one /64.
        requests_per_second: that one address, or one /64, may ask in the long run.
        burst: that it may ask at once.
        header_timeout_s: until a new connection must have sent a request, and between two.
        body_timeout_s: until a body must be there.
    """

    listen: Address
    certificate: str = ""
    certificate_key: str = ""
    connections: Count = 4096
    connections_per_address: Count = 2048
    requests_per_second: Annotated[float, Meta(gt=0, le=1e6)] = 200.0
    burst: Count = 4000
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 60.0


class DevicesSection(HttpSection, frozen=True):
    """The device API.

    Attributes:
        uploads_at_once: updates that are received at the same time.
        uploads_waiting: that wait for it; more are turned away and come again.
    """

    uploads_at_once: Count = 32
    uploads_waiting: Count = 2000


class PeersSection(HttpSection, frozen=True):
    """The blob plane among the servers.

    Attributes:
        urls: of every server's blob plane, in the order of the genesis; the own one may be "".
        authority: PEM file of the authority that has signed the others' certificates; "": those of the system.
        timeout_s: until another server must have answered.
        pulls_at_once: updates that are pulled at the same time.
    """

    urls: tuple[Url, ...] = ()
    authority: str = ""
    timeout_s: Seconds = 30.0
    pulls_at_once: Count = 8


class CometSection(Section, frozen=True):
    """CometBFT, which runs beside the node.

    Attributes:
        rpc: where it answers.
        abci: where this node listens for it: ``unix:///path`` or ``tcp://127.0.0.1:26658``.
        home: folder of a CometBFT that the node starts and ends itself; "": somebody else does, such as systemd.
        executable: to start; "": the environment's BEES_COMETBFT, else cometbft on the PATH.
        next_validator: file of the key with which it votes once the chain has changed to that; "": none.
    """

    rpc: Annotated[str, Meta(pattern=r"^https?://[^/\s]+$")] = "http://127.0.0.1:26657"
    abci: Annotated[str, Meta(pattern=r"^(unix:///.+|tcp://[^/\s]+:[0-9]+)$")] = "tcp://127.0.0.1:26658"
    home: str = ""
    executable: str = ""
    next_validator: str = ""


class ScoringSection(Section, frozen=True):
    """How updates are scored.

    Attributes:
        data: ``mnist``, ``mnist-7x7`` or an .npz file with x_test and y_test: the evaluation set of the genesis.
        model: ``package.module:name`` of a ``bees.learning.models.Model``; "": made from the genesis' description.
        threads: that score.
    """

    data: str = "mnist"
    model: str = ""
    threads: Count = 2


class OffloadingSection(Section, frozen=True):
    """Training for devices that offload. What they hand in is raw data: read docs/security.md before you accept any.

    Attributes:
        accept: whether this node trains for devices at all.
        data_limit_mb: of one device.
        total_limit_mb: of all devices together, on disk.
        epochs_limit: that a device may ask for.
        trainings_at_once: processes that train, about 300 MB each besides the data.
        trainings_waiting: that wait for one; more are turned away, and their devices train at home.
        training_limit_s: after which a training is ended.
        uploads_at_once: data that are received at the same time; they are held in memory meanwhile.
        upload_timeout_s: until they must be there.
    """

    accept: bool = False
    data_limit_mb: Annotated[int, Meta(ge=1, le=4096)] = 64
    total_limit_mb: Count = 1024
    epochs_limit: Count = 20
    trainings_at_once: Annotated[int, Meta(ge=1, le=256)] = 1
    trainings_waiting: Count = 100
    training_limit_s: Seconds = 120.0
    uploads_at_once: Annotated[int, Meta(ge=1, le=256)] = 2
    upload_timeout_s: Seconds = 120.0

    @property
    def data_limit_bytes(self) -> int:
        """Of one device."""
        return self.data_limit_mb * _MEGABYTE

    @property
    def total_limit_bytes(self) -> int:
        """Of all devices together."""
        return self.total_limit_mb * _MEGABYTE


class StorageSection(Section, frozen=True):
    """What the node keeps.

    Attributes:
        blob_limit_mb: of updates on disk.
        rounds_kept: rounds of which all updates are kept; of older ones, those that the contract read.
    """

    blob_limit_mb: Count = 4096
    rounds_kept: Count = 3


class LogSection(Section, frozen=True):
    """What the node says.

    Attributes:
        level: the least that is said.
        json: a JSON document per line, for machines.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False


class NodeConfig(Section, frozen=True):
    """The file.

    Attributes:
        server: index in the genesis.
        key: file of the server's BEES key.
        next_key: file of the key that an Amend names, or will name, as the server's; "": none.
        genesis: file of the signed genesis.
        initial_model: file of the words of w_g(0).
        folder: for chain.db, updates and journal.
        devices: the device API.
        peers: the blob plane.
        comet: the engine.
        scoring: of updates.
        offloading: training for devices that offload.
        storage: what is kept.
        log: what is said.
    """

    server: Annotated[int, Meta(ge=0, le=9999)]
    key: str
    genesis: str
    initial_model: str
    folder: str
    devices: DevicesSection
    peers: PeersSection
    comet: CometSection = CometSection()
    next_key: str = ""
    scoring: ScoringSection = ScoringSection()
    offloading: OffloadingSection = OffloadingSection()
    storage: StorageSection = StorageSection()
    log: LogSection = LogSection()


def load_config(path: Path) -> NodeConfig:
    """Read and check a ``node.toml``; its paths are relative to its own folder.

    Raises:
        InputError: names the file, the key, and what is needed.
    """
    source = str(path)
    try:
        table = tomllib.loads(read_toml_bytes(source, source, "node.toml", InputError, lambda: _ABSENT).decode())
    except (ValueError, RecursionError) as error:
        raise InputError(source, f"is not TOML: {str(error) or 'it is nested too deeply'}") from None
    _refuse_unknown(table, NodeConfig, source, "")
    try:
        config = msgspec.convert(table, NodeConfig)
    except msgspec.ValidationError as error:
        raise InputError(source, _plainly(str(error))) from None
    if bool(config.devices.certificate) != bool(config.devices.certificate_key):
        raise InputError(source, "devices.certificate and devices.certificate_key go together")
    if bool(config.peers.certificate) != bool(config.peers.certificate_key):
        raise InputError(source, "peers.certificate and peers.certificate_key go together")
    if config.comet.next_validator and not config.comet.home:
        problem = "needs comet.home; whoever starts CometBFT without the node puts the key in place by hand"
        raise InputError(source, f"comet.next_validator {problem}")
    return _anchored(config, path.parent)


def write_config(config: NodeConfig) -> str:
    """The config as TOML."""
    import tomli_w  # noqa: PLC0415  # only those that make networks write

    return tomli_w.dumps(msgspec.to_builtins(config))


def blob_limit_bytes(config: NodeConfig) -> int:
    """How many bytes of updates may be on disk."""
    return config.storage.blob_limit_mb * _MEGABYTE


def _refuse_unknown(table: Mapping[str, Any], kind: type[Section], source: str, prefix: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in table.items():
        key = f"{prefix}{name}"
        if name not in fields:
            raise InputError(source, f"{key[:80]}: no such key; {did_you_mean(name[:80], tuple(fields))}")
        if isinstance(fields[name], type) and issubclass(fields[name], Section):
            if not isinstance(value, dict):
                raise InputError(source, f"{key}: is a section: write its keys under [{key}]")
            _refuse_unknown(cast("dict[str, Any]", value), fields[name], source, f"{key}.")


def _plainly(complaint: str) -> str:
    """The complaint of msgspec, with the key first."""
    what, found, place = complaint.rpartition(" - at `$.")
    if found:
        return f"{place.removesuffix('`')}: {what}"
    missing = re.search(r"missing required field `(\w+)`", complaint)
    return f"{missing.group(1)} is missing" if missing else complaint


def _anchored(config: NodeConfig, base: Path) -> NodeConfig:
    def anchor(text: str) -> str:
        return str(base / text) if text else ""

    replace = msgspec.structs.replace
    data = config.scoring.data
    return replace(
        config,
        key=anchor(config.key),
        next_key=anchor(config.next_key),
        genesis=anchor(config.genesis),
        initial_model=anchor(config.initial_model),
        folder=anchor(config.folder),
        devices=replace(
            config.devices,
            certificate=anchor(config.devices.certificate),
            certificate_key=anchor(config.devices.certificate_key),
        ),
        peers=replace(
            config.peers,
            certificate=anchor(config.peers.certificate),
            certificate_key=anchor(config.peers.certificate_key),
            authority=anchor(config.peers.authority),
        ),
        comet=replace(config.comet, home=anchor(config.comet.home), next_validator=anchor(config.comet.next_validator)),
        scoring=replace(config.scoring, data=anchor(data) if data.endswith(".npz") else data),
    )
