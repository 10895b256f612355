from __future__ import annotations

import json
import pickle
import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import bees.ledger.refusals
from bees.core import errors
from bees.core.errors import BeesError, InputError, did_you_mean


def tree(root: type[BeesError]) -> list[type[BeesError]]:
    """Every class of the tree that this project defines, the root first."""
    below = [kind for child in root.__subclasses__() for kind in tree(child)]
    return [root, *(kind for kind in below if kind.__module__.startswith("bees."))]


ALL = tree(BeesError)
LEAVES = [kind for kind in ALL if is_dataclass(kind)]
EXAMPLES = {"int": 3, "int | None": 4, "str": "what", "bytes": b"\xab" * 32, "float": 2.5, "object": "value"}


def field_types(kind: Any) -> dict[str, str]:
    return {f.name: str(f.type) for f in fields(kind)}


def example(kind: type[BeesError]) -> BeesError:
    values: dict[str, Any] = {name: EXAMPLES.get(of, "other") for name, of in field_types(kind).items()}
    return kind(**values)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_is_one_line_that_names_its_fields(kind: type[BeesError]):
    error = example(kind)
    assert str(error) == error.message
    assert str(error).strip()
    assert "\n" not in str(error)
    if kind.message is not BeesError.message:
        _, _, *given = (str(value)[:16] for value in error.as_dict().values())
        assert any(value in str(error) for value in given)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_goes_to_json_and_through_pickle(kind: type[BeesError]):
    error = example(kind)
    told = json.loads(json.dumps(error.as_dict()))
    assert told["error"] == kind.__name__
    assert told["message"] == str(error)
    assert set(told) == {"error", "message"} | field_types(kind).keys()
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert type(back) is kind
    assert back.as_dict() == error.as_dict()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_exit_codes_are_2_for_input_and_disks_and_1_for_the_rest(kind: type[BeesError]):
    is_input = issubclass(kind, errors.InputError | errors.CodecError | errors.StorageError)
    # Whoever is left out is so again after a restart.
    is_input = is_input or issubclass(kind, errors.NoKeyError | errors.NotAMemberError)
    assert kind.exit_code == (2 if is_input else 1)


def test_the_drawn_tree_is_the_tree():
    for module, root in ((errors, BeesError), (bees.ledger.refusals, errors.LedgerError)):
        drawn = set(re.findall(r"── (\w+)", module.__doc__ or ""))
        defined = {kind.__name__ for kind in tree(root) if kind.__module__ == module.__name__}
        assert drawn - {"TransactionError", "BlockError"} == defined - {root.__name__, "TransactionError", "BlockError"}


def test_errors_are_told_apart_by_identity():
    one, other = InputError("file", "broken"), InputError("file", "broken")
    assert one != other
    assert len({one, other}) == 2


def test_the_nearest_word_is_suggested_or_all_are_listed():
    assert did_you_mean("bandwith_hz", ["bandwidth_hz", "users"]) == "did you mean 'bandwidth_hz'?"
    assert did_you_mean("zzz", ("a", "b")) == "known: a, b"


def test_what_an_error_quotes_cannot_break_its_line():
    error = errors.MalformedError("Signed", "Invalid value 'a\n\x1b[31m\udc80é'")
    assert str(error) == r"not a valid Signed: Invalid value 'a\n\x1b[31m\udc80é'"
    assert error.as_dict()["message"] == str(error)
