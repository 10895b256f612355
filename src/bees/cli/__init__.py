"""The command line: one file per command. Start-up is fast, because JAX is loaded only by commands that train."""

from __future__ import annotations

from bees.cli.main import main

__all__ = ["main"]
