"""`x402-agent sandbox`: pretend sellers on chains of their own, on this machine."""

from __future__ import annotations

import json as js
import os
import signal
import sys
import threading
import time
from typing import Annotated, Any

import typer

from .. import Settings, SettingsError
from ..ledger import SqliteLedger
from ..sandbox import Sandbox, scenarios
from ..secret import plain
from . import sandbox_db
from .common import SOLD, Chain, Json, SellerName, as_json, errors, say

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


@app.command("up")
def up(
    scenario: Annotated[str, typer.Option(help="What the sellers do; see `sandbox scenarios`.")] = "honest",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    chain: Chain = "evm",
    seller: SellerName = "shop",
    database: Annotated[str, typer.Option(envvar="DATABASE_URL", show_envvar=False, help="Where a seller that keeps books keeps them: postgresql://… or a path; DATABASE_URL.")] = "",
    redis: Annotated[str, typer.Option(help="redis://…: where KAMIYO's verification service counts calls, when several processes share them.")] = "",
    json: Annotated[bool, typer.Option("--json", help='A line per seller, then {"ready": true}.')] = False,
) -> None:
    """Run the sandbox until ^C. Pay it with `x402-agent get --sandbox URL`, or with any x402 client."""
    with errors(json):
        if scenario not in scenarios(seller):
            raise SettingsError(f"no scenario is called {scenario!r}", rule="--scenario", hint=", ".join(scenarios(seller)))
        settings = Settings.load()
        url = sandbox_db.database_of(settings, seller, database) if seller != "shop" else ""
        with Sandbox(scenario, chain=chain, seller=seller, database=url) as box:
            if redis:
                box.seller.count_in(redis)
            stop = _told_to_stop()  # before the first word, and before anything lies there to be taken away again
            box.serve(port=port)
            path = settings.data_dir / "sandbox" / "payer.json"
            _leave_key(path, {"key": box.payer_key.hex(), "node": box.rpc_url, "url": box.url(""), "network": box.network, "dialects": box.dialects, "coins": dict(box.seller.coins), **box.seller.keys()})
            kept = SqliteLedger(settings.sandbox_ledger, sandbox=True)
            kept.unpin(box.origin)  # another sandbox may have had this port
            for allowed in box.ground.allowances:
                kept.allow(*allowed).run()
            kept.shut()
            try:
                _announce(box, scenario, json)
                _wait(box, stop, json)
            finally:
                path.unlink(missing_ok=True)


def _leave_key(path: Any, facts: dict[str, Any]) -> None:
    """The sandbox's own key, for `get --sandbox` on this machine: test money that dies with the sandbox."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        js.dump(facts, file)


def _announce(box: Sandbox, scenario: str, json: bool) -> None:
    if json:
        for path, route in box.routes.items():
            if not route.price:
                continue
            as_json({"url": box.url(path), "seller": box.seller.name, "dialect": box.seller.dialect, "chain": box.network, "scenario": scenario,
                     "price": str(route.price), "wire": route.wire, "flow": route.flow, "pay_to": box.pay_to, "faucet": box.url("/sandbox/fund"), "facilitator": box.url("/facilitator"),
                     "node": box.rpc_url, "catalogue": box.url("/discovery/resources")})  # fmt: skip
        as_json({"ready": True})
    else:
        print(f"sandbox  {box.url('')}    {box.seller.name}, scenario {scenario}; test money; nothing leaves this machine")
        print(f"routes   {'  '.join(box.routes)}")
        print(f"pay it   {box.seller.pay_it(box.origin)}")
        print(f"crawl it x402-agent discover crawl --source bazaar={box.origin} --allow-loopback --rate 100")
        print(f"sellers  {SOLD}: another one by --seller")
        print("Ready! (^C to quit)")
    sys.stdout.flush()


def _arrow(one: Any) -> str:
    """One request in a line; whoever sent it chose its words."""
    return f"{time.strftime('%H:%M:%S')}  --> {plain(one.method):4} {plain(one.path)}{'   + proof' if one.proof else ''}"


def _told_to_stop() -> threading.Event:
    """What a signal sets from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _wait(box: Sandbox, stop: threading.Event, json: bool) -> None:
    """Until a signal; meanwhile two arrows for each request."""
    shown = 0
    while not stop.is_set():
        requests = box.requests
        for one in requests[shown:]:
            if not json:
                print(_arrow(one), flush=True)
        shown = len(requests)
        stop.wait(0.2)
