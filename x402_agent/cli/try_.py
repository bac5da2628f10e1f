"""`x402-agent try`: the first paid request, on test money, in this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import Payer, Settings
from .arrows import Arrows
from .common import Chain, SellerName, as_json, errors, row

if TYPE_CHECKING:
    import httpx

__all__ = ["run"]

LINES = """
now in Python:
  from x402_agent import Payer
  with Payer.sandbox({options}) as payer, payer.client() as http:
      reply = http.get(payer.sandbox.url("/joke"))
      print(reply.text, reply.extensions["payment"])

next: x402-agent log · x402-agent sandbox up --scenario settles_then_500 · x402-agent budget set 1.00/day"""


def run(
    scenario: Annotated[str, typer.Option(help="What the pretend seller does; `sandbox scenarios` lists them.")] = "honest",
    chain: Chain = "evm",
    seller: SellerName = "shop",
    json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the transcript.")] = False,
) -> None:
    """Make a first paid request: a real signature, a machine of the chain's own, test money, no account, no internet."""
    with errors(json):
        settings = Settings.load()

        def write(text: str) -> None:
            if not json:
                sys.stdout.write(text + "\n")

        with Payer.sandbox(scenario, chain=chain, seller=seller, ledger=settings.sandbox_ledger, serve=True, settings=settings) as payer:
            box = payer.box
            assert box is not None
            path = "/joke" if "/joke" in box.routes else next(each for each, route in box.routes.items() if route.price)
            write(f"sandbox  {box.url('')}    test money; nothing leaves this machine")
            arrows = Arrows(
                write, ledger=_short(settings.sandbox_ledger), per_call=payer.policy.per_call,
                label=f" in the sandbox's {box.ground.machine}",
                spent=lambda limits: payer.ledger.spent(limits, realm="sandbox")[0].spent,
                settled=lambda tx: f"read back from the {box.ground.machine}" if box.transaction(tx) is not None else f"NOT in the {box.ground.machine}",
            )  # fmt: skip
            payer.trace = arrows
            with payer.client(timeout=40) as http:
                reply = http.get(box.url(path))
            arrows.flush()
            payment = payer.ledger.payment(reply.extensions["payment"].payment_id)
            on_chain = box.transaction(payment.transaction) if payment.transaction else None
            write(f'"{_joke(reply)}"')
            named = {"chain": chain if chain != "evm" else "", "seller": seller if seller != "shop" else ""}
            options = ", ".join(f'{name}="{value}"' for name, value in named.items() if value)
            write(LINES.replace("x402-agent ", f"{_program()} ").replace("{options}", options).replace("/joke", path))
            if json:
                as_json({"status": reply.status_code, "body": reply.text, "payment": row(payment, sandbox=True),
                         "read_back": on_chain is not None})  # fmt: skip
    if reply.status_code >= 400:
        raise typer.Exit(5)


def _program() -> str:
    """How this command is typed: after `make demo` it stands on no PATH."""
    typed = Path(sys.argv[0])
    return os.path.relpath(typed) if typed.stem == "x402-agent" and not shutil.which(typed.stem) else "x402-agent"


def _joke(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["joke"])
    except (ValueError, KeyError, TypeError):
        return reply.text.strip()[:200]


def _short(path: Path) -> str:
    home = str(Path.home())
    return f"~{str(path).removeprefix(home)}" if str(path).startswith(home + "/") else str(path)
