"""``bees genesis``: the agreement that a chain on separate hosts starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, plain, print_json

genesis = typer.Typer(name="genesis", help="Draft, sign and check the genesis of a real network.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The genesis file.")]


@genesis.command()
def new(
    out: Annotated[Path, typer.Argument(help="Where to write the draft; must not exist.")],
    members: Annotated[
        Path, typer.Option(help="TOML: [[servers]] public_key; [[devices]] public_key, server, samples.")
    ],
    scenario: Annotated[str, typer.Option(help="A preset or file: model, evaluation set, contract, phases.")] = "paper",
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob.")] = None,
    model_out: Annotated[
        Path | None, typer.Option(help="Where to write w_g(0), which every node needs. Default: beside the draft.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draft a genesis. Then every server signs it, one after the other: bees genesis sign.

    Example: bees genesis new bees.genesis --members members.toml --scenario paper
    """
    from bees.core.fixed_point import words_to_bytes
    from bees.deployment.founding import draft_genesis, genesis_bytes, read_members
    from bees.run_folder import new_file
    from bees.scenario_file import load_scenario

    listed = read_members(members)
    draft = draft_genesis(load_scenario(scenario, override or []), listed)
    model_path = model_out or out.with_name(f"{out.name}.model")
    for path, data in ((model_path, words_to_bytes(draft.initial_model)), (out, genesis_bytes(draft.unsigned))):
        with new_file(path) as file:
            file.write(data)
    told = {"genesis": str(out), "model": str(model_path), "chain_id": draft.genesis.chain_id.hex()}
    if as_json:
        print_json(told)
        return
    plain(f"{out}: draft for {len(listed.servers)} servers and {len(listed.devices)} devices; {model_path}: w_g(0)")
    plain(f"chain {told['chain_id']}\nNow each server signs it with: bees genesis sign {out} --key FILE")


@genesis.command()
def sign(
    file: File, key: Annotated[Path, typer.Option(help="The server's key file.")], as_json: AsJson = False
) -> None:
    """Add a server's signature to the file. Look at it first: bees genesis check.

    Example: bees genesis sign bees.genesis --key server.key
    """
    from bees.deployment.founding import add_signature, genesis_bytes, read_draft, unsigned_servers
    from bees.key_file import read_key_file
    from bees.run_folder import write_bytes

    signed = add_signature(read_draft(file), read_key_file(key))
    write_bytes(file.parent, file.name, genesis_bytes(signed))
    missing = unsigned_servers(signed)
    if as_json:
        print_json({"genesis": str(file), "chain_id": signed.genesis.chain_id.hex(), "unsigned": list(missing)})
    else:
        plain(f"signed; {_still(missing)}")


@genesis.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Show what a genesis says, and whether every server has signed it. Exit code 1 if not.

    Example: bees genesis check bees.genesis
    """
    from bees.deployment.founding import read_draft, unsigned_servers
    from bees.ledger.commitments import hash_contract
    from bees.ledger.genesis import check_genesis

    signed = read_draft(file)
    missing = unsigned_servers(signed)
    if not missing:
        check_genesis(signed)
    told = signed.genesis
    if as_json:
        print_json(
            {
                "chain_id": told.chain_id.hex(),
                "name": told.name,
                "servers": [record.public_key.hex() for record in told.servers],
                "devices": [record.public_key.hex() for record in told.devices],
                "model": told.model.name,
                "contract": hash_contract(told.contract).hex(),
                "unsigned": list(missing),
            }
        )
    else:
        plain(f"chain {told.chain_id.hex()} ({told.name})")
        plain(
            f"{len(told.servers)} servers, {len(told.devices)} devices; a block takes {told.commit_quorum} signatures"
        )
        plain(f"model {told.model.name}, {told.model.update_bytes:,} bytes an update; M = {told.top_m}")
        plain(f"contract {hash_contract(told.contract).hex()}")
        for index, record in enumerate(told.servers):
            plain(f"server {index} {record.public_key.hex()} {'UNSIGNED' if index in missing else 'signed'}")
        plain(_still(missing))
    if missing:
        raise typer.Exit(1)


def _still(missing: tuple[int, ...]) -> str:
    if not missing:
        return "every server has signed"
    return f"missing: the signatures of servers {', '.join(map(str, missing))}"
