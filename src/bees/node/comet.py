"""A CometBFT of one's own: its keys, its genesis, the few lines of its configuration that differ from its defaults."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import tomli_w
from nacl.bindings import crypto_sign_seed_keypair

from bees.core.errors import KeyFileError, StorageError
from bees.engines.disk import explain
from bees.key_file import SEED_BYTES
from bees.node.abci.adapter import comet_chain_id

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from bees.ledger.genesis import Genesis

COMET_VERSION = "v0.38.21"
_ADDRESS_BYTES = 20
VALIDATOR_KEY, _NODE_KEY = "config/priv_validator_key.json", "config/node_key.json"
_EVIDENCE_AGE_NS = 48 * 3600 * 10**9


@dataclass(frozen=True)
class CometKey:
    """An Ed25519 key as CometBFT keeps it.

    Attributes:
        public_key: 32 bytes.
        private_key: 64 bytes, the seed and the public key.
    """

    public_key: bytes
    private_key: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> CometKey:
        """The key that 32 secret bytes determine."""
        return cls(*crypto_sign_seed_keypair(seed))

    @property
    def address(self) -> str:
        """Name of a validator, in upper-case hexadecimal digits; in lower case, the name of a node."""
        return sha256(self.public_key).hexdigest()[: 2 * _ADDRESS_BYTES].upper()

    @property
    def node_id(self) -> str:
        """Name of a node among peers."""
        return self.address.lower()


@dataclass(frozen=True)
class CometSettings:
    """What a CometBFT is told.

    Times are CometBFT's: a new block comes ``commit_s`` after the last one, plus what agreement takes. Every block
    changes the app hash, since the height is a part of the state; so blocks come at this pace on an idle network too.
    That is wanted, as heights are the clock of a round's phases.

    Attributes:
        abci_address: of the ledger, as ``LedgerNode.abci_address`` names it.
        p2p_address: where it listens for peers, such as ``tcp://0.0.0.0:26656``.
        rpc_address: where the ledger hands in transactions, such as ``tcp://127.0.0.1:26657``.
        peers: ``node_id@host:port`` of the others.
        moniker: a name for people.
        commit_s: pause after a block.
        propose_s: how long a proposal may take in the first round; it must outlast a contract's execution.
        vote_s: how long to wait for the votes of the slow, in the first round.
        growth_s: what every further round adds to both.
        mempool_transactions: how many transactions the mempool holds.
        transaction_bytes: size of the largest; a Deploy carries a contract.
        metrics_address: where it tells Prometheus, such as ``127.0.0.1:26660``; empty for nowhere.
        log_level: such as ``error`` or ``info``.
        is_local: whether peers may share one address, as they do on one machine.
    """

    abci_address: str
    p2p_address: str
    rpc_address: str
    peers: tuple[str, ...] = ()
    moniker: str = "bees"
    commit_s: float = 1.0
    propose_s: float = 6.0
    vote_s: float = 1.0
    growth_s: float = 0.5
    mempool_transactions: int = 20_000
    transaction_bytes: int = 1 << 20
    metrics_address: str = ""
    log_level: str = "error"
    is_local: bool = False


def comet_config(settings: CometSettings) -> dict[str, object]:
    """What stands in config.toml; all else is CometBFT's default."""
    return {
        "proxy_app": settings.abci_address,
        "moniker": settings.moniker,
        "log_level": settings.log_level,
        "db_backend": "goleveldb",
        "filter_peers": False,
        "rpc": {"laddr": settings.rpc_address, "max_body_bytes": 2 * settings.transaction_bytes, "pprof_laddr": ""},
        "p2p": {
            "laddr": settings.p2p_address,
            "persistent_peers": ",".join(settings.peers),
            # The servers of a chain are known by name; nobody else is to be found or to be let in.
            "pex": False,
            "unconditional_peer_ids": ",".join(peer.partition("@")[0] for peer in settings.peers),
            "max_num_inbound_peers": 0,
            "addr_book_strict": not settings.is_local,
            "allow_duplicate_ip": settings.is_local,
            "persistent_peers_max_dial_period": "2s" if settings.is_local else "30s",
        },
        "mempool": {
            "size": settings.mempool_transactions,
            "cache_size": 2 * settings.mempool_transactions,
            "max_txs_bytes": 256 * settings.transaction_bytes,
            "max_tx_bytes": settings.transaction_bytes,
            # A transaction that came a block too early may come again.
            "keep-invalid-txs-in-cache": False,
        },
        "consensus": {
            "timeout_propose": _duration(settings.propose_s),
            "timeout_propose_delta": _duration(settings.growth_s),
            "timeout_prevote": _duration(settings.vote_s),
            "timeout_prevote_delta": _duration(settings.growth_s),
            "timeout_precommit": _duration(settings.vote_s),
            "timeout_precommit_delta": _duration(settings.growth_s),
            "timeout_commit": _duration(settings.commit_s),
            "create_empty_blocks": True,
        },
        "storage": {"discard_abci_responses": True},
        "tx_index": {"indexer": "null"},
        "instrumentation": {
            "prometheus": bool(settings.metrics_address),
            "prometheus_listen_addr": settings.metrics_address or ":26660",
        },
    }


def comet_genesis(genesis: Genesis, validators: Sequence[bytes], founded: datetime) -> dict[str, object]:
    """What stands in genesis.json; all CometBFTs of a chain need the same bytes of it.

    Args:
        genesis: of BEES.
        validators: public keys of the CometBFTs, in the order of the servers.
        founded: when the chain begins; the first block waits for it.
    """
    return {
        "genesis_time": founded.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "chain_id": comet_chain_id(genesis),
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(4 << 20), "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": "100000",
                "max_age_duration": str(_EVIDENCE_AGE_NS),
                "max_bytes": str(1 << 20),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {
                "address": sha256(key).hexdigest()[: 2 * _ADDRESS_BYTES].upper(),
                "pub_key": _public(key),
                "power": "1",
                "name": f"server {index}",
            }
            for index, key in enumerate(validators)
        ],
        "app_hash": "",
    }


def write_home(
    home: Path, settings: CometSettings, genesis: dict[str, object], validator: CometKey, node: CometKey
) -> None:
    """Write a home that ``cometbft node --home`` starts from; what the chain has left in ``data/`` stays.

    Args:
        home: a folder, made if it is not there.
        settings: for config.toml.
        genesis: from ``comet_genesis``.
        validator: signs votes.
        node: names the node among its peers.

    Raises:
        StorageError: it cannot be written.
    """
    write_keys(home, validator, node)
    write_settings(home, settings, genesis)


def write_keys(home: Path, validator: CometKey, node: CometKey) -> None:
    """The keys of a home, and an empty record of the votes that were cast where there is none.

    Raises:
        StorageError: they cannot be written.
    """
    with _in_words(home):
        for folder in (home, home / "config", home / "data"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(home / VALIDATOR_KEY, validator_document(validator))
        write_private(home / _NODE_KEY, json.dumps({"priv_key": _private(node)}))
        signed = home / "data/priv_validator_state.json"
        if not signed.exists():  # it says which votes were cast, and must outlive everything
            write_private(signed, json.dumps({"height": "0", "round": 0, "step": 0}))


def validator_document(key: CometKey) -> str:
    """What CometBFT's file of a validator's key holds."""
    document = {"address": key.address, "pub_key": _public(key.public_key), "priv_key": _private(key)}
    return json.dumps(document, indent=2)


def write_settings(home: Path, settings: CometSettings, genesis: dict[str, object]) -> None:
    """Write config.toml and genesis.json into a home that has its keys.

    Raises:
        StorageError: they cannot be written.
    """
    with _in_words(home):
        write_private(home / "config/config.toml", tomli_w.dumps(comet_config(settings)))
        write_private(home / "config/genesis.json", json.dumps(genesis, indent=2))


def read_keys(home: Path) -> tuple[CometKey, CometKey]:
    """The keys of the validator and of the node in a home.

    Raises:
        KeyFileError: one cannot be read, others may read it, or it holds something else. What it holds is never told.
    """
    return read_key(home / VALIDATOR_KEY), read_key(home / _NODE_KEY)


def read_key(path: Path) -> CometKey:
    """The key in a file of CometBFT's, of a validator or of a node.

    Raises:
        KeyFileError: it cannot be read, others may read it, or it holds something else. What it holds is never told.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(str(path), f"others may read it: chmod 600 {path}")
        private = b64decode(json.loads(path.read_bytes())["priv_key"]["value"], validate=True)
        key = CometKey.from_seed(private[:SEED_BYTES])
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be read as a key: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError(str(path), "holds no Ed25519 key of CometBFT") from None
    if private != key.private_key:
        raise KeyFileError(str(path), "holds no Ed25519 key of CometBFT")
    return key


@contextmanager
def _in_words(home: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(str(home), explain(error)) from error


def write_private(path: Path, text: str) -> None:
    """A file that only its owner may read, whole or as it was before."""
    draft = path.with_name(f"{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _public(key: bytes) -> dict[str, str]:
    return {"type": "tendermint/PubKeyEd25519", "value": b64encode(key).decode()}


def _private(key: CometKey) -> dict[str, str]:
    return {"type": "tendermint/PrivKeyEd25519", "value": b64encode(key.private_key).decode()}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
