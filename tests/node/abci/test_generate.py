from __future__ import annotations

from pathlib import Path

import pytest

import bees.node.abci.generate as module
from bees.node.abci.generate import generate, translate


def test_the_committed_classes_are_those_that_the_definitions_make(tmp_path: Path):
    tools = pytest.importorskip("grpc_tools")
    committed = Path(module.__file__).parent / "pb"
    generate(tmp_path)
    for made in sorted(tmp_path.iterdir()):
        ours = (committed / made.name).read_text()
        if "Protobuf Python Version" in ours and ours.split("\n")[4] != made.read_text().split("\n")[4]:
            pytest.skip(f"{tools.__name__} is of another version than made the classes")
        assert made.read_text() == ours, made.name


def test_what_shapes_go_code_only_is_dropped():
    field = 'Params p = 1 [(gogoproto.nullable) = false, (gogoproto.customname) = "P"];\n'
    assert translate(field) == "Params p = 1;\n"
    assert translate('import "gogoproto/gogo.proto";\npackage tendermint.abci;') == "package bees.abci;"
