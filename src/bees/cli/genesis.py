"""``bees genesis``: the agreement that a chain on separate hosts starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.node import needs_extra

genesis = typer.Typer(name="genesis", help="Draft, sign and check the genesis of a real network.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The genesis file.")]


@genesis.command()
def new(
    out: Annotated[Path, typer.Argument(help="Where to write the draft; must not exist.")],
    members: Annotated[Path, typer.Option(help="TOML: the servers' cards; [[devices]] public_key, server, samples.")],
    scenario: Annotated[str, typer.Option(help="A preset or file: model, evaluation set, contract, phases.")] = "paper",
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob.")] = None,
    model_out: Annotated[
        Path | None, typer.Option(help="Where to write w_g(0), which every node needs. Default: beside the draft.")
    ] = None,
    block_s: Annotated[float, typer.Option(min=0.1, max=60, help="Pause between two blocks.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Draft a genesis. Then every server signs it: bees genesis sign, one after the other, or each a copy (merge).

    Where the members file holds the cards of the servers (`bees keys server`), a list of their hosts is written beside
    it and signed with it. Phases are those of a real network, 60 blocks for COLLECT, unless you --set them.

    Example: bees genesis new bees.genesis --members members.toml --scenario paper
    """
    import time

    from bees.core.fixed_point import words_to_bytes
    from bees.deployment.founding import draft_genesis, genesis_bytes, network_knobs, read_members
    from bees.deployment.hosts import draft_hosts, hosts_bytes, hosts_path
    from bees.run_folder import new_file
    from bees.scenario_file import load_scenario

    listed = read_members(members)
    knobs = network_knobs(len(listed.servers), len(listed.devices))
    draft = draft_genesis(load_scenario(scenario, [*knobs, *(override or [])]), listed)
    model_path = model_out or out.with_name(f"{out.name}.model")
    files = [(model_path, words_to_bytes(draft.initial_model)), (out, genesis_bytes(draft.unsigned))]
    hosts = draft_hosts(draft.genesis, listed, int(time.time()), round(block_s * 1000))
    if hosts is not None:
        files.insert(0, (hosts_path(out), hosts_bytes(hosts)))
    for path, data in files:
        with new_file(path) as file:
            file.write(data)
    told = {"genesis": str(out), "model": str(model_path), "chain_id": draft.genesis.chain_id.hex()}
    told["hosts"] = "" if hosts is None else str(hosts_path(out))
    if as_json:
        print_json(told)
        return
    plain(f"{out}: draft for {len(listed.servers)} servers and {len(listed.devices)} devices; {model_path}: w_g(0)")
    if hosts is not None:
        plain(f"{told['hosts']}: where the servers are; the three files go from hand to hand together")
    plain(f"chain {told['chain_id']}\nNow each server signs it with: bees genesis sign {out} --key FILE")


@genesis.command()
def sign(
    file: File, key: Annotated[Path, typer.Option(help="The server's key file.")], as_json: AsJson = False
) -> None:
    """Add a server's signature to the file, and to the hosts beside it. Look at them first: bees genesis check.

    Example: bees genesis sign bees.genesis --key server.key
    """
    from bees.deployment.founding import add_signature, genesis_bytes, read_draft, unsigned_servers
    from bees.deployment.hosts import hosts_bytes, hosts_path, read_hosts, sign_hosts
    from bees.key_file import read_key_file
    from bees.run_folder import write_bytes

    own = read_key_file(key)
    signed = add_signature(read_draft(file), own)
    hosts = read_hosts(file, signed.genesis)
    if hosts is not None:
        where = hosts_path(file)
        write_bytes(where.parent, where.name, hosts_bytes(sign_hosts(hosts, signed.genesis, own)))
    write_bytes(file.parent, file.name, genesis_bytes(signed))
    missing = unsigned_servers(signed)
    if as_json:
        print_json({"genesis": str(file), "chain_id": signed.genesis.chain_id.hex(), "unsigned": list(missing)})
    else:
        plain(f"signed; {_still(missing)}")


@genesis.command()
def merge(
    file: File,
    copies: Annotated[list[Path], typer.Argument(help="Copies of it that servers have signed apart.")],
    as_json: AsJson = False,
) -> None:
    """Put the signatures of several copies into one file, and those under the hosts beside each of them.

    Example: bees genesis merge bees.genesis from-edge1/bees.genesis from-edge2/bees.genesis
    """
    from bees.deployment.founding import genesis_bytes, merge_signatures, read_draft, unsigned_servers
    from bees.deployment.hosts import hosts_bytes, hosts_path, merge_hosts, read_hosts
    from bees.run_folder import write_bytes

    signed = merge_signatures(read_draft(file), [read_draft(copy) for copy in copies])
    hosts = read_hosts(file, signed.genesis)
    if hosts is not None:
        found = [read_hosts(copy, signed.genesis) for copy in copies]
        merged = merge_hosts(hosts, [one for one in found if one is not None], signed.genesis)
        where = hosts_path(file)
        write_bytes(where.parent, where.name, hosts_bytes(merged))
    write_bytes(file.parent, file.name, genesis_bytes(signed))
    missing = unsigned_servers(signed)
    if as_json:
        print_json({"genesis": str(file), "chain_id": signed.genesis.chain_id.hex(), "unsigned": list(missing)})
    else:
        plain(f"merged; {_still(missing)}")


@genesis.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Show what a genesis and the hosts beside it say, and whether every server has signed both. Exit code 1 if not.

    Example: bees genesis check bees.genesis
    """
    from bees.deployment.founding import read_draft, unsigned_servers
    from bees.deployment.hosts import read_hosts, unsigned_hosts
    from bees.ledger.commitments import hash_contract
    from bees.ledger.genesis import check_genesis

    signed = read_draft(file)
    told = signed.genesis
    missing = unsigned_servers(signed)
    hosts = read_hosts(file, told)
    if hosts is not None:
        missing = tuple(sorted({*missing, *unsigned_hosts(hosts, told)}))
    if not missing:
        check_genesis(signed)
    places = [f"{host.comet} {host.peer_url}" for host in hosts.hosts.hosts] if hosts is not None else []
    if as_json:
        print_json(
            {
                "chain_id": told.chain_id.hex(),
                "name": told.name,
                "servers": [record.public_key.hex() for record in told.servers],
                "devices": [record.public_key.hex() for record in told.devices],
                "model": told.model.name,
                "contract": hash_contract(told.contract).hex(),
                "hosts": places,
                "unsigned": list(missing),
            }
        )
    else:
        plain(f"chain {told.chain_id.hex()} ({told.name})")
        plain(
            f"{len(told.servers)} servers, {len(told.devices)} devices; "
            f"a block takes {told.committee.quorum} signatures"
        )
        plain(f"model {told.model.name}, {told.model.update_bytes:,} bytes an update; M = {told.top_m}")
        plain(f"contract {hash_contract(told.contract).hex()}")
        for index, record in enumerate(told.servers):
            place = f" {places[index]}" if places else ""
            plain(f"server {index} {record.public_key.hex()}{place} {'UNSIGNED' if index in missing else 'signed'}")
        plain(_still(missing))
    if missing:
        raise typer.Exit(1)


@genesis.command()
def home(
    file: File,
    folder: Annotated[Path, typer.Argument(help="The server's folder, from `bees keys server`.")],
    data: Annotated[str, typer.Option(help="Evaluation set: mnist, mnist-7x7 or an .npz file.")] = "mnist",
    devices: Annotated[str, typer.Option(help="host:port to listen on for devices.")] = "0.0.0.0:7600",
    certificate: Annotated[str, typer.Option(help="PEM file of this host's certificate.")] = "",
    certificate_key: Annotated[str, typer.Option(help="PEM file of its private key.")] = "",
    authority: Annotated[str, typer.Option(help="PEM file of the authority of the other certificates.")] = "",
    rpc: Annotated[str, typer.Option(help="host:port where CometBFT answers the node.")] = "127.0.0.1:26657",
    abci: Annotated[str, typer.Option(help="host:port where CometBFT finds the node.")] = "127.0.0.1:26658",
    replaces: Annotated[
        int | None, typer.Option(min=0, help="Server whose host is lost, and which the servers give these keys.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a host ready for `bees node`, once every server has signed: CometBFT's home, and node.toml.

    With --replaces the folder holds new keys (`bees keys server`) of a server that the genesis knows by others. It
    takes part as soon as the servers have agreed on them: bees amend.

    Example: bees genesis home bees.genesis /var/lib/bees --data ours.npz
    """
    needs_extra()
    from bees.deployment.host import CONFIG, Local, make_home

    local = Local(devices, rpc, abci, data, certificate, certificate_key, authority)
    server = make_home(file, folder, local, replaces)
    if as_json:
        print_json({"server": server, "config": str(folder / CONFIG)})
    else:
        plain(f"server {server} is ready: bees node --config {folder / CONFIG}")


def _still(missing: tuple[int, ...]) -> str:
    if not missing:
        return "every server has signed"
    return f"missing: the signatures of servers {', '.join(map(str, missing))}"
