"""The sellers of the sandbox, and our client, under load: on loopback, bounded, two cores.

    python benchmarks/load.py sellers [--only WORDS] [--seconds 60] [--steady 300] [--where] [--quick] [--json]
    python benchmarks/load.py lily    [--seconds 60] [--sessions 10000] [--users 1000] [--quick] [--json]
    python benchmarks/load.py agents  [--seconds 300] [--agents 200] [--quick] [--json]

Each prints a table that ends in PASS or FAIL, and fails where one did. `sellers` and `lily` send by aiohttp, from the Python that
X402_OFFICIAL_PYTHON names. `--quick` is a few seconds of each: whether it runs, not what it finds.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quick", action="store_true", help="a few seconds, small numbers")
    common.add_argument("--json", action="store_true", help="for programs")
    sellers = kinds.add_parser("sellers", parents=[common])
    sellers.add_argument("--only", default="", help="rows whose name has these words")
    sellers.add_argument("--seconds", type=float, default=60, help="for which the highest rate is held")
    sellers.add_argument("--warm", type=float, default=5, help="seconds before these")
    sellers.add_argument("--steady", type=float, default=300, help="seconds at 100 a second")
    sellers.add_argument("--together", type=int, default=1, help="sellers that stand at 100 a second at the same time")
    sellers.add_argument("--probe", type=float, default=4, help="seconds of the guess, and of the profile")
    sellers.add_argument("--tries", type=int, default=8, help="rates that are tried, each a tenth below the one before")
    sellers.add_argument("--where", action="store_true", help="where the server's time goes, below each row")
    lily = kinds.add_parser("lily", parents=[common])
    lily.add_argument("--seconds", type=float, default=60)
    lily.add_argument("--warm", type=float, default=5)
    lily.add_argument("--sessions", type=int, default=10_000, help="open ones")
    lily.add_argument("--users", type=int, default=1_000)
    lily.add_argument("--rate", type=float, default=500, help="requests a second of all users")
    agents = kinds.add_parser("agents", parents=[common])
    agents.add_argument("--seconds", type=float, default=300)
    agents.add_argument("--agents", type=int, default=200)
    return parser


def main(words: list[str] | None = None) -> int:
    """The exit code: 0 where everything passed."""
    options = _parser().parse_args(words)
    done: int = import_module(f"loading.{options.kind}").main(options)
    return done


if __name__ == "__main__":
    sys.exit(main())
