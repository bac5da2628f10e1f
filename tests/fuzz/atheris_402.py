"""A coverage-guided fuzzer over the same exchange as test_exchange.py; see README.md for how to run it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["x402_agent"]):
    from fuzz.exchange import HONEST, OLDER, WAYS, decode, exchange


def one(data: bytes) -> None:
    """The first byte says how the rest is carried."""
    if data:
        exchange(WAYS[data[0] % len(WAYS)], data[1:])
        decode(data[1:])


def seeds(folder: Path) -> None:
    """A corpus to begin with: the honest documents, in every way."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(WAYS)):
        for name, document in (("v2", HONEST), ("v1", OLDER)):
            (folder / f"{name}-{number}").write_bytes(bytes((number,)) + document)


if __name__ == "__main__":
    folders = [Path(each) for each in sys.argv[1:] if not each.startswith("-")]
    if folders:
        seeds(folders[0])
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
