"""Whose certificates a client believes."""

from __future__ import annotations

import ssl

from bees.core.errors import InputError


def trust(authority: str | None) -> ssl.SSLContext | bool:
    """What aiohttp takes as ``ssl``: that authority alone, or those of the system.

    Args:
        authority: PEM file, or nothing.

    Raises:
        InputError: it cannot be read.
    """
    if not authority:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise InputError(authority, f"is no authority's certificate: {error}") from None
