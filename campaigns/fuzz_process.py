"""One libFuzzer process for one target, guided by the coverage of ``bees`` and of the parsers under it.

``python -m campaigns.fuzz_process TARGET [libFuzzer's arguments]``; ``campaigns.fuzz`` starts it.
"""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import atheris

_KNOWS_THE_FORMAT = 0.75
_INSTRUMENTED = ["bees", "tomllib", "zipfile", "numpy.lib"]


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's limits end the process."""
    name, *options = arguments
    instrument: Any = atheris.instrument_imports  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]  # untyped
    with instrument(include=_INSTRUMENTED):
        from campaigns.fuzz_mutators import mutate  # noqa: PLC0415  # what is imported here is instrumented
        from campaigns.fuzz_targets import run_target  # noqa: PLC0415  # likewise

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311  # libFuzzer's own seed, so that a run can be repeated
        if rng.random() < _KNOWS_THE_FORMAT:
            mutated = mutate(name, data, rng)
            if mutated is not None and len(mutated) <= max_size:
                return mutated
        return atheris.Mutate(data, max_size)

    def one_input(data: bytes) -> None:
        run_target(name, data)

    warnings.simplefilter("error")
    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
