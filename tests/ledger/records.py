"""Hypothesis strategies for everything that is written to the chain, read off the types themselves."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as types


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a record type, within the limits that its annotations set."""
    return _strategy(types.type_info(kind))


def _strategy(info: types.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911  # a table, one line per type
    match info:
        case types.StructType():
            return st.builds(info.cls, *(_strategy(f.type) for f in info.fields))
        case types.UnionType():
            return reduce(or_, (_strategy(option) for option in info.types))
        case types.VarTupleType():
            return st.lists(_strategy(info.item_type), max_size=3).map(tuple)
        case types.TupleType():
            return st.tuples(*(_strategy(item) for item in info.item_types))
        case types.IntType():
            lowest = -(2**63) if info.ge is None else info.ge
            return st.integers(lowest, 2**64 - 1 if info.le is None else info.le)
        case types.FloatType():
            least = -(2.0**100) if info.gt is None else info.gt
            return st.floats(least, 2.0**100 if info.le is None else info.le, exclude_min=info.gt is not None)
        case types.BytesType():
            return st.binary(min_size=info.min_length or 0, max_size=info.max_length or 8)
        case types.StrType():
            return st.text(min_size=info.min_length or 0, max_size=min(info.max_length or 8, 8))
        case types.LiteralType():
            return st.sampled_from(info.values)
        case types.NoneType():
            return st.none()
        case _:
            raise NotImplementedError(info)


def all_records(root: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Every record type that this project defines."""
    found = [kind for child in root.__subclasses__() for kind in (child, *all_records(child))]
    return sorted((k for k in found if k.__module__.startswith("bees.")), key=lambda k: (k.__module__, k.__name__))
