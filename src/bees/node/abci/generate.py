"""Makes the message classes in ``pb/`` from CometBFT's definitions: ``python -m bees.node.abci.generate``.

The definitions in ``proto/`` stand as CometBFT has them. On the way to protoc their import paths, and their package,
get names of our own, so that the classes are modules of this package, and another library may bring CometBFT's
messages too; gogoproto's options, which shape Go code only, are dropped. Nothing of this changes a byte on the wire.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bees.core.errors import InputError, MissingExtraError

_HERE = Path(__file__).parent
_PACKAGE = "bees/node/abci/pb"
_MODULES = {
    "tendermint/abci/types.proto": "messages",
    "tendermint/crypto/keys.proto": "keys",
    "tendermint/crypto/proof.proto": "proof",
    "tendermint/types/params.proto": "params",
    "tendermint/types/validator.proto": "validator",
}
_OPTION = r"\(gogoproto\.\w+\)\s*=\s*(?:\"[^\"]*\"|\w+)"


def translate(source: str) -> str:
    """A definition of CometBFT's, as protoc is given it."""
    text = re.sub(r'import "gogoproto/gogo\.proto";\n', "", source)
    text = re.sub(r"[ \t]*option \(gogoproto\.\w+\)\s*=\s*\w+;\n", "", text)
    text = re.sub(rf"\s*\[\s*{_OPTION}(?:\s*,\s*{_OPTION})*\s*,?\s*\]", "", text)
    text = re.sub(rf"\s*,\s*{_OPTION}|{_OPTION}\s*,\s*", "", text)
    text = re.sub(r"\btendermint\.(abci|crypto|types)\b", r"bees.\1", text)
    for path, name in _MODULES.items():
        text = text.replace(f'"{path}"', f'"{_PACKAGE}/{name}.proto"')
    return text


def generate(target: Path) -> None:
    """Write the message classes and their type stubs into a folder.

    Raises:
        MissingExtraError: grpcio-tools, which brings protoc, is not installed.
        InputError: protoc refuses a definition.
    """
    try:
        from grpc_tools import protoc  # pyright: ignore[reportMissingTypeStubs] # noqa: PLC0415 # no types; dev only
    except ImportError as error:
        raise MissingExtraError("grpcio-tools", "brings protoc; install the dev group") from error
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, _PACKAGE)
        folder.mkdir(parents=True)
        for path, name in _MODULES.items():
            (folder / f"{name}.proto").write_text(translate((_HERE / "proto" / path).read_text()))
        well_known = Path(protoc.__file__).parent / "_proto"
        options = [f"-I{scratch}", f"-I{well_known}", f"--python_out={scratch}", f"--pyi_out={scratch}"]
        names = [f"{_PACKAGE}/{name}.proto" for name in _MODULES.values()]
        if protoc.main(["protoc", *options, *names]) != 0:  # pyright: ignore[reportUnknownMemberType]
            raise InputError(str(_HERE / "proto"), "protoc refuses these definitions")
        target.mkdir(exist_ok=True)
        for made in sorted(folder.glob("*_pb2.py*")):
            # protoc leaves the keys and values of mappings open, which a strict type checker does not take.
            text = re.sub(r"\b_Mapping\b(?!\[)", "_Mapping[str, object]", made.read_text())
            (target / made.name).write_text(text.replace("Mapping as _Mapping[str, object]", "Mapping as _Mapping"))


if __name__ == "__main__":
    generate(_HERE / "pb")
    sys.stdout.write(f"wrote {_HERE / 'pb'}\n")
