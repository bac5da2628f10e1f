"""`x402-agent sandbox`: pretend sellers on chains of their own, on this machine."""

from __future__ import annotations

import json as js
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from .. import Settings, SettingsError
from ..ledger import SqliteLedger
from ..sandbox import GROUNDS, Sandbox, chains, scenarios, sellers
from ..secret import plain
from . import sandbox_db
from .common import SELLER, SOLD, Chain, Json, SellerName, as_json, errors, say

if TYPE_CHECKING:
    from pathlib import Path

    from ..sandbox import Route

__all__ = ["app"]

app = typer.Typer(help="Pretend sellers for developers.", no_args_is_help=True)
app.add_typer(sandbox_db.app, name="db", short_help="The database of a pretend seller.")


@app.command("scenarios")
def list_(seller: SellerName = "shop", json: Json = False) -> None:
    """The scenarios of a seller, which `sandbox up`, `try` and the tests share."""
    with errors(json):
        found = scenarios(seller)
    if json:
        as_json({name: one.description for name, one in found.items()})
        return
    for name, one in found.items():
        print(f"{name:26} {one.description}")
    say(f"these are of --seller {seller}; sellers: {SOLD}")


@app.command("sellers")
def sellers_(json: Json = False) -> None:
    """Every seller of every dialect: whose system, on which chains, what it sells, and how it is started."""
    rows = [
        {"seller": name, "dialect": kind.dialect, "chains": list(chains(name)), "sells": kind.sells, "scenarios": len(scenarios(name)), "start": _start(name)}
        for name, kind in sellers().items()
    ]
    if json:
        as_json(rows)
        return
    for row in rows:
        print(f"{row['seller']:9} {row['dialect']:12} {', '.join(row['chains']):27} {row['scenarios']:2} scenarios   {row['sells']}")  # type: ignore[arg-type]
    say("start one by  x402-agent sandbox up --seller NAME, or all of them by --seller all")


@app.command("up")
def up(
    scenario: Annotated[str, typer.Option(help="What the sellers do; see `sandbox scenarios`.")] = "honest",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1, with --seller all the first of them; 0 picks free ones.")] = 0,
    chain: Chain = "",
    seller: Annotated[str, typer.Option("--seller", help=f"{SELLER} `all` is every seller on every chain, one payer for all.")] = "shop",
    database: Annotated[str, typer.Option(envvar="DATABASE_URL", show_envvar=False, help="Where a seller that keeps books keeps them: postgresql://… or a path; DATABASE_URL.")] = "",
    redis: Annotated[str, typer.Option(help="redis://…: where KAMIYO's verification service counts calls, when several processes share them.")] = "",
    json: Annotated[bool, typer.Option("--json", help='A line for each thing that is sold, then {"ready": true}.')] = False,
) -> None:
    """Run the sandbox until ^C. Pay it with `x402-agent get --sandbox URL`, or with any x402 client."""
    with errors(json), ExitStack() as opened:
        settings = Settings.load()
        boxes = _boxes(settings, seller, chain, scenario, database, opened)
        if redis:
            boxes[0].seller.count_in(redis)
        stop = _told_to_stop()  # before the first word, and before anything lies there to be taken away again
        for index, box in enumerate(boxes):
            box.serve(port=port and port + index)
        path = settings.data_dir / "sandbox" / "payer.json"
        if _another_runs(path, {box.origin for box in boxes}):
            say("another sandbox runs: from now on commands with --sandbox go to this one; for both: `sandbox up --seller all`, or another X402_AGENT_HOME")
        left = _leave_key(path, *map(_facts, boxes))
        _begin_anew(settings, boxes)
        try:
            _announce(boxes, scenario, json)
            _wait(boxes, stop, json)
        finally:
            _take_key(path, left)


def _boxes(settings: Settings, seller: str, chain: str, scenario: str, database: str, opened: ExitStack) -> list[Sandbox]:
    """The sandboxes of `--seller`, closed with `opened`; those of one chain stand on one ground, so that one payer pays them all."""
    every, boxes = seller == "all", list[Sandbox]()
    if every and database:
        raise SettingsError("one database is one seller's", rule="--database, DATABASE_URL", hint="--seller kamiyo, or neither of them")
    if every and chain not in ("", *GROUNDS):
        raise SettingsError(f"the sandbox has no chain {chain[:40]!r}", rule=f"one of {', '.join(GROUNDS)}", hint="--chain evm")
    for name in sellers() if every else (seller,):
        if scenario not in scenarios(name):
            raise SettingsError(f"no scenario of {name} is called {scenario!r}", rule="--scenario", hint=", ".join(scenarios(name)))
        for on in [each for each in chains(name) if chain in ("", each)] if every else [chain or chains(name)[0]]:
            ground = next((box.ground for box in boxes if box.ground.name == on), on)
            file = f"{name}-{on}" if every and on != chains(name)[0] else name
            url = sandbox_db.database_of(settings, file, database) if sellers()[name].books else ""
            boxes.append(opened.enter_context(Sandbox(scenario, chain=ground, seller=name, database=url)))
    return boxes


def _begin_anew(settings: Settings, boxes: list[Sandbox]) -> None:
    """Another sandbox may have had these ports: its payees are no pins of these, and what it sold is sealed by a key that is gone."""
    kept = SqliteLedger(settings.sandbox_ledger, sandbox=True)
    origins = {box.origin for box in boxes}
    for token in kept.tokens():
        if token.origin in origins:
            kept.forget_token(token.name)
    for box in boxes:
        kept.unpin(box.origin)
        for allowed in box.ground.allowances:
            kept.allow(*allowed).run()
    kept.shut()


def _facts(box: Sandbox) -> dict[str, Any]:
    """What the payer of a sandbox needs to know of it."""
    return {"key": box.payer_key.hex(), "node": box.rpc_url, "url": box.url(""), "seller": box.seller.name, "network": box.network,
            "dialects": box.dialects, "coins": dict(box.seller.coins), **box.seller.keys()}  # fmt: skip


def _leave_key(path: Path, *facts: dict[str, Any]) -> str:
    """Of each sandbox its payer's key and the rest, for `get --sandbox` on this machine: test money that dies with the sandbox. What was written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    written = js.dumps(facts)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(written)
    return written


def _take_key(path: Path, left: str) -> None:
    """What was left is taken away again, unless another sandbox has put its own there."""
    with suppress(FileNotFoundError):
        if path.read_text("utf-8") == left:
            path.unlink()


def _another_runs(path: Path, ours: set[str]) -> bool:
    """Whether a sandbox that left its key there still answers: one that was killed left it, too, and its port may be ours now."""
    try:
        origins = {facts["url"].rstrip("/") for facts in js.loads(path.read_text("utf-8"))} - ours
        for at in map(urlsplit, origins):
            with suppress(OSError), socket.create_connection((at.hostname or "", at.port or 0), timeout=1):
                return True
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # none, or half of one: who wrote it was killed
        pass
    return False


def _start(name: str) -> str:
    """How this seller is started on its usual chain."""
    return f"x402-agent sandbox up --seller {name}"


def _announce(boxes: list[Sandbox], scenario: str, json: bool) -> None:
    if json:
        for box in boxes:
            for path, route in box.routes.items():
                if route.price:
                    as_json(_sold(box, path, route, scenario))
        as_json({"ready": True})
    else:
        if len(boxes) > 1:
            _all(boxes, scenario)
        else:
            _one(boxes[0], scenario)
        print("Ready! (^C to quit)")
    sys.stdout.flush()


def _sold(box: Sandbox, path: str, route: Route, scenario: str) -> dict[str, Any]:
    return {"url": box.url(path), "seller": box.seller.name, "dialect": box.seller.dialect, "chain": box.network, "scenario": scenario,
            "price": str(route.price), "wire": route.wire, "flow": route.flow, "pay_to": box.pay_to, "faucet": box.url("/sandbox/fund"), "facilitator": box.url("/facilitator"),
            "node": box.rpc_url, "catalogue": box.url("/discovery/resources"), "pay_it": box.seller.pay_it(box.origin)}  # fmt: skip


def _one(box: Sandbox, scenario: str) -> None:
    print(f"sandbox  {box.url('')}    {box.seller.name}, scenario {scenario}; test money; nothing leaves this machine")
    print(f"routes   {'  '.join(box.routes)}")
    print(f"pay it   {box.seller.pay_it(box.origin)}")
    print(f"crawl it x402-agent discover crawl --source bazaar={box.origin} --allow-loopback --rate 100")
    print(f"sellers  {SOLD}: another one by --seller, all of them by --seller all")


def _all(boxes: list[Sandbox], scenario: str) -> None:
    print(f"sandbox  {len(boxes)} sellers, scenario {scenario}; test money; nothing leaves this machine")
    for box in boxes:
        print(f"{box.seller.name:9} {box.ground.name:7} {box.origin}   {box.seller.sells}")
        print(f"  pay it  {box.seller.pay_it(box.origin)}")


def _arrow(one: Any) -> str:
    """One request in a line; whoever sent it chose its words."""
    return f"{time.strftime('%H:%M:%S')}  --> {plain(one.method):4} {plain(one.path)}{'   + proof' if one.proof else ''}"


def _told_to_stop() -> threading.Event:
    """What a signal sets from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _wait(boxes: list[Sandbox], stop: threading.Event, json: bool) -> None:
    """Until a signal; meanwhile a line for each request."""
    shown = [0] * len(boxes)
    while not stop.is_set():
        for index, box in enumerate(boxes):
            requests, shown[index] = box.requests_since(shown[index])
            for one in () if json else requests:
                print(_arrow(one) + (f"   {box.seller.name} on {box.ground.name}" if len(boxes) > 1 else ""), flush=True)
        stop.wait(0.2)
