"""`x402-agent try`: the first paid request, on test money, in this machine."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import Payer, Settings
from ..sandbox import chains
from ..steps import Progress
from .arrows import Arrows
from .common import Chain, SellerName, as_json, errors, row
from .try_discover import finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import httpx

    from ..model import Ask
    from ..sandbox import Sandbox

__all__ = ["run"]

LINES = """
now in Python:
  from x402_agent import Payer
  with Payer.sandbox({options}) as payer, payer.client() as http:
      reply = http.get(payer.sandbox.url("/joke"))
      print(reply.text, reply.extensions["payment"])

next: x402-agent log · x402-agent sandbox up --scenario settles_then_500 · x402-agent budget set 1.00/day"""

FOUND = """
now in Python, of what `x402-agent discover crawl` has found:
  from x402_agent import Payer
  with Payer.from_env() as payer, payer.client() as http:
      best = payer.discover.search("{words}", payable=True, live=True)[0]
      reply = http.get(best.url)
      print(best.why, reply.extensions["payment"])

next: x402-agent sandbox up, then what it says under `crawl it` · x402-agent discover crawl · x402-agent log"""


def run(
    scenario: Annotated[str, typer.Option(help="What the pretend seller does; `sandbox scenarios` lists them.")] = "honest",
    chain: Chain = "",
    seller: SellerName = "shop",
    discover: Annotated[bool, typer.Option("--discover", help="Find first what to buy: read the seller's catalogue, ask, rank, choose by evidence.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the transcript.")] = False,
) -> None:
    """Make a first paid request: a real signature, a machine of the chain's own, test money, no account, no internet.

    With --discover what to buy is found: the pretend seller's catalogue is read, what it lists is asked without paying, the best evidence is
    bought, and the outcome counts from then on. That catalogue goes with the sandbox; yours is not touched.
    """
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
            with finding(payer, box, path, write) if discover else nullcontext() as find:
                payer.trace = _hurried(arrows, box) if box.seller.slow else arrows
                where, payment = (find.chosen.url, find.payment) if find else (box.url(path), {})
                with payer.client(timeout=40) as http:
                    reply = http.get(where, extensions={"payment": payment})
                arrows.flush()
                paid = payer.ledger.payment(reply.extensions["payment"].payment_id)
                on_chain = box.transaction(paid.transaction) if paid.transaction else None
                write(f'"{_joke(reply)}"')
                found = {"discover": find.ended()} if find else {}
            write(_lesson(chain, seller, path, box.url("") if find else ""))
            if json:
                as_json({"status": reply.status_code, "body": reply.text, "payment": row(paid, sandbox=True),
                         "read_back": on_chain is not None, **found})  # fmt: skip
    if reply.status_code >= 400:
        raise typer.Exit(5)


def _lesson(chain: str, seller: str, path: str, origin: str) -> str:
    """What to type next; with an `origin`, of finding."""
    named = {"chain": chain if chain != chains(seller)[0] else "", "seller": seller if seller != "shop" else ""}
    options = ", ".join(f'{name}="{value}"' for name, value in named.items() if value)
    lines = FOUND if origin else LINES
    return lines.replace("x402-agent ", f"{_program()} ").replace("{options}", options).replace("{words}", path.rpartition("/")[2]).replace("/joke", path)


def _hurried(arrows: Arrows, box: Sandbox) -> Callable[[Ask, Any, Any], None]:
    """The arrows; and when a block has the payment, the sandbox's clock goes on: nobody learns by waiting until it is deep enough."""

    def trace(ask: Ask, step: Any, value: Any) -> None:
        arrows(ask, step, value)
        if isinstance(step, Progress) and step.state == "MINED":
            box.warp(box.seller.slow)
            arrows.write(f"      clock    {box.seller.slow} s on, in the sandbox alone: that many its seller waits")

    return trace


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
