"""``bees amend``: how the servers of a chain replace a key, or remove a server or a device, by files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.proposals import (
    ChainOrGenesis,
    Copies,
    NewProposal,
    NewTransaction,
    OwnChain,
    SameOrCopy,
    ServerKey,
    check_against,
    joined,
    refuse_existing,
    settled_standing,
    tell_approvals,
    who_approves,
    write_transaction,
)
from bees.core.errors import InputError

if TYPE_CHECKING:
    from bees.ledger.membership import Change, ValidatorChange
    from bees.ledger.state import State
    from bees.proposal import AmendProposal

amend = typer.Typer(
    name="amend",
    help="Replace the key of a server or device, or remove it, by more than 2N/3 of the servers.",
    epilog="propose, consent (by the new key), approve (by servers), sign, then: bees submit",
    no_args_is_help=True,
)
_File = Annotated[Path, typer.Argument(metavar="PROPOSAL", help="What bees amend propose has written.")]


@amend.command()
def propose(
    genesis: ChainOrGenesis,
    target: NewProposal,
    server: Annotated[int | None, typer.Option(min=0, help="Index of the server.")] = None,
    device: Annotated[int | None, typer.Option(min=0, help="Index of the device, instead.")] = None,
    new_key: Annotated[
        str | None,
        typer.Option(help="Its next key: the public digits, a file of them (.pub), or the private key's file."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Instead of a next key: it takes no part any more.")] = False,
    validator_old: Annotated[
        str | None, typer.Option(help="With which the server's CometBFT votes so far: digits, .pub or .json.")
    ] = None,
    comet_genesis: Annotated[
        Path | None, typer.Option(help="Look that up: CometBFT's genesis.json, and the changes on the chain.")
    ] = None,
    validator_new: Annotated[
        str | None, typer.Option(help="With which it votes next: digits, a .pub, or the .json of bees keys validator.")
    ] = None,
    nonce: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="How many Amends the chain has had; else as it says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose to replace a key, or to remove a participant: a file that the new key and the servers sign.

    The servers that count, and how many Amends there were, are read from the chain; a genesis alone says that its own
    servers count, and that there was none. CometBFT votes with a key of its own: name it where it changes too, and
    always where a server is removed.

    Example: bees amend propose --genesis data/chain.db --server 3 --new-key server-3b.pub --out amend.json
    """
    from bees.proposal import AmendProposal, ProvedChain
    from bees.proposal_file import write_proposal

    refuse_existing(target)
    kind, index = _participant(server, device)
    standing = settled_standing(genesis)
    public_key = _next_key(new_key, remove=remove)
    state = standing.state
    validator = _validator(state, kind, index, public_key, validator_old, comet_genesis, validator_new)
    change = _checked(state, kind, index, public_key, validator)
    so_far = state.amendments if nonce is None else nonce
    proposal = AmendProposal(ProvedChain.of(standing), so_far, (), change, None)
    write_proposal(target, proposal)
    _tell(proposal, target, as_json=as_json)


@amend.command()
def show(file: _File, as_json: AsJson = False) -> None:
    """Print what a proposal changes, and who has signed it. Look before you approve.

    Example: bees amend show amend.json
    """
    from bees.proposal_file import read_amend_proposal

    _tell(read_amend_proposal(file), file, as_json=as_json)


@amend.command()
def consent(
    file: _File,
    key: Annotated[Path, typer.Option(help="The file of the new private key, of mode 0600.")],
    target: SameOrCopy = None,
    as_json: AsJson = False,
) -> None:
    """Sign with the new key, which shows that somebody holds it.

    Example: bees amend consent amend.json --key server-3b.key
    """
    from bees.key_file import read_key_file
    from bees.proposal_file import read_amend_proposal, write_proposal

    consented = read_amend_proposal(file).consented(read_key_file(key))
    write_proposal(target or file, consented)
    _tell(consented, target or file, as_json=as_json)


@amend.command()
def approve(
    file: _File, key: ServerKey, own: OwnChain = None, target: SameOrCopy = None, as_json: AsJson = False
) -> None:
    """Add a server's approval to a proposal.

    Ask the owner by another way than this file whether the key is theirs. Approvals that were made on several copies of
    the file are put together by bees amend sign.

    Example: bees amend approve amend.json --key server.key --genesis data/chain.db
    """
    from bees.key_file import read_key_file
    from bees.proposal_file import read_amend_proposal, write_proposal

    proposal = read_amend_proposal(file)
    check_against(proposal, file, own)
    approved = proposal.with_approvals([proposal.approval(read_key_file(key))])
    write_proposal(target or file, approved)
    _tell(approved, target or file, as_json=as_json)


@amend.command("sign")
def sign(files: Copies, key: ServerKey, target: NewTransaction, as_json: AsJson = False) -> None:
    """Make the Amend transaction, once more than 2N/3 servers have approved; says whose approvals are missing.

    The file holds the canonical bytes of the signed transaction. Any server hands it in: bees submit.

    Example: bees amend sign amend.json --key server-0.key --out amend.transaction
    """
    from bees.key_file import read_key_file
    from bees.proposal_file import read_amend_proposal

    whole = joined(files, read_amend_proposal)
    write_transaction(whole.transaction(read_key_file(key)), target, whole, _summary(whole), as_json=as_json)


def _participant(server: int | None, device: int | None) -> tuple[Literal["server", "device"], int]:
    if server is not None and device is None:
        return "server", server
    if device is not None and server is None:
        return "device", device
    raise InputError("--server", "name one participant: --server INDEX, or --device INDEX")


def _next_key(new_key: str | None, *, remove: bool) -> bytes | None:
    from bees.key_file import named_public_key

    if (new_key is None) is not remove:
        raise InputError("--new-key", "name the next key, or say --remove")
    return None if new_key is None else named_public_key("--new-key", new_key)


def _validator(
    state: State,
    kind: str,
    index: int,
    public_key: bytes | None,
    old: str | None,
    comet_genesis: Path | None,
    new: str | None,
) -> ValidatorChange | None:
    """What changes for CometBFT, as the options say; None where they say nothing."""
    from bees.cli.node import needs_extra
    from bees.ledger.membership import ValidatorChange

    if old is None and comet_genesis is None and new is None:
        return None
    if kind == "device":
        raise InputError("--device", "a device has no validator: leave --validator-… and --comet-genesis out")
    if (old is None) is (comet_genesis is None):
        raise InputError("--validator-old", "name the validator so far once: by --validator-old, or by --comet-genesis")
    if (new is None) is not (public_key is None):
        raise InputError("--validator-new", "goes with --new-key, and not with --remove")
    needs_extra()
    from bees.node.validator_key import named_validator

    told = named_validator("--validator-old", old) if old is not None else _looked_up(comet_genesis, state, index)
    return ValidatorChange(told, None if new is None else named_validator("--validator-new", new))


def _looked_up(comet_genesis: Path | None, state: State, server: int) -> bytes:
    from bees.node.validator_key import founding_validators, validator_now

    path = comet_genesis or Path()
    founders = founding_validators(path)
    if len(founders) != len(state.genesis.servers):
        raise InputError(str(path), f"names {len(founders)} validators for {len(state.genesis.servers)} servers")
    now = validator_now(founders[server], state.members.validator_changes) if server < len(founders) else None
    if now is None:
        raise InputError(str(path), f"server {server} has no validator there, or not any more")
    return now


def _checked(
    state: State,
    kind: Literal["server", "device"],
    index: int,
    public_key: bytes | None,
    validator: ValidatorChange | None,
) -> Change:
    """The change, if the chain would take it."""
    from bees.ledger.membership import Change
    from bees.ledger.membership import amend as amended
    from bees.ledger.refusals import AmendError

    change = Change(kind, index, public_key, validator)
    try:
        amended(state.members if state.next_members is None else state.next_members, change)
    except AmendError as error:
        raise InputError(f"--{kind}", f"the chain would not take it: {error.problem}") from error
    return change


def _summary(proposal: AmendProposal) -> dict[str, Any]:
    change = proposal.change
    validator = change.validator
    return {
        **who_approves(proposal),
        "participant": change.kind,
        "index": change.index,
        "public_key": _hex(change.public_key),
        "validator": None if validator is None else {"old": _hex(validator.old), "new": _hex(validator.new)},
        "consented": not proposal.lacks_consent,
    }


def _tell(proposal: AmendProposal, path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"proposal": str(path), **_summary(proposal)})
        return
    change, chain = proposal.change, proposal.chain
    plain(
        f"{path}: {change.kind} {change.index} of chain {chain.genesis.chain_id.hex()}, change number {proposal.nonce}"
    )
    if change.kind == "server":
        plain(f"key so far {_hex(chain.committee.key(change.index)) or 'none'}")
    plain("is removed" if change.public_key is None else f"next key   {change.public_key.hex()}")
    if change.validator is not None:
        plain(f"validator so far {change.validator.old.hex()}")
        plain(f"next validator   {_hex(change.validator.new) or 'none'}")
    elif change.kind == "server":
        plain("its CometBFT goes on to vote with the key that it has; name the next one if that changes too")
    if change.public_key is not None:
        plain("the new key has still to consent" if proposal.lacks_consent else "the new key has consented")
    tell_approvals(proposal)


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
