"""The shipped bytecode is what the shipped source compiles to, byte for byte. Needs Node, and solc in SOLC_DIR."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "x402_agent" / "sandbox" / "contracts"


@pytest.mark.full
def test_recompiling_gives_the_same_artifact(tmp_path):
    solc = os.environ.get("SOLC_DIR", "")
    assert solc, "set SOLC_DIR to a folder where `npm install solc@0.8.37` ran; make test-all does"
    made = tmp_path / "made"
    made.mkdir()
    script = ROOT / "tools" / "compile_contracts.js"
    env = os.environ | {"NODE_PATH": str(Path(solc) / "node_modules")}
    subprocess.run(["node", str(script), str(made)], check=True, capture_output=True, env=env)
    shipped = {each.name: each.read_bytes() for each in CONTRACTS.glob("*.json")}
    assert {each.name: each.read_bytes() for each in made.iterdir()} == shipped
    assert {each.stem for each in CONTRACTS.glob("*.sol")} == {name.removesuffix(".json") for name in shipped}
