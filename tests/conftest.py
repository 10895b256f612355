from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bees.core.errors import MissingExtraError
from bees.node.comet_process import find_comet

# Tests start hundreds of processes that would each compile the same few functions: 4 of 10 s of a quick run. What is
# compiled depends on nothing else, so results stay the same bit by bit.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@pytest.fixture(scope="session")
def needs_comet() -> None:
    """Skips, with the reason, what needs CometBFT where there is none."""
    try:
        find_comet()
    except MissingExtraError as error:
        pytest.skip(f"CometBFT: {error}")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that has signed itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "node.pem"), str(folder / "node.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths
