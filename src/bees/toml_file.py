"""Reading the bytes of a TOML file that somebody has named: whatever it turns out to be is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.core.errors import BeesError

SIZE_LIMIT_BYTES = 64 * 1024
"""The largest that BEES writes itself, a packaged grid, takes about 3 KB."""


def read_toml_bytes(
    path: str,
    source: str,
    kind: str,
    refuse: Callable[[str, str], BeesError],
    absent: Callable[[], str],
    limit_bytes: int = SIZE_LIMIT_BYTES,
) -> bytes:
    """The bytes of a file.

    Args:
        path: of the file.
        source: names it in refusals.
        kind: what it should be, such as ``"scenario"``.
        refuse: makes the error of a source and a problem.
        absent: tells the problem where there is no such file.
        limit_bytes: of the largest that is read.

    Raises:
        BeesError: made by ``refuse``: it cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # "" is no path to open(), but the folder "." to Path
            text = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise refuse(source, absent()) from None
    except IsADirectoryError:
        raise refuse(source, "is a folder: name a TOML file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse(source, f"cannot be read: {reason}") from None
    if len(text) > limit_bytes:
        problem = f"is larger than {limit_bytes // 1024} KiB, so it is no {kind}: name a TOML file"
        raise refuse(source, problem)
    return text
