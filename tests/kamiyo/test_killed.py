"""kill -9 of a signer, with its agent, at some writes, messages and questions of a purchase of calls: one payment, no call twice."""

from __future__ import annotations

import json
import textwrap

import pytest

from nursery import run
from x402_agent.assets import network

CODE = textwrap.dedent("""
    import json, os, sys, threading, time
    from dataclasses import replace
    from pathlib import Path
    from x402_agent import Payer, Policy, Settings, Wallet
    from x402_agent.ledger import SqliteLedger
    from x402_agent.ledger.store import Store
    from x402_agent.signer import AgentPayer, Service, link, session
    from x402_agent.transport import fetch

    home, key, node, where, url, die = sys.argv[1:]
    count, turn = 0, threading.Lock()

    def point():
        global count
        with turn:
            count += 1
            if count == int(die):
                os.kill(os.getpid(), 9)

    def around(place, name):
        done = getattr(place, name)

        def made(*rest, **more):
            point()
            found = done(*rest, **more)
            point()
            return found

        setattr(place, name, made)

    settings = replace(Settings.load({"X402_AGENT_HOME": home}), nodes={where: node})
    ledger = SqliteLedger(Path(home) / "ledger.db", sandbox=True, notes=settings.notes_path)
    payer = Payer(wallet=Wallet.from_key(bytes.fromhex(key)), policy=Policy(networks=(where,)), settings=settings, ledger=ledger)
    service = Service(payer, Path(home) / "s", {os.getuid(): "research"})
    threading.Thread(target=service.serve, daemon=True).start()
    for place, name in ((Store, "_guarded"), (session.Session, "_answer"), (link.Connection, "tell"), (fetch, "_fetch")):
        around(place, name)
    with AgentPayer(replace(settings, signer=Path(home) / "s")) as agent:
        notes = [] if int(die) else [each.note for each in (*agent.resume(), *agent.resume())]
        with agent.client(timeout=30) as http:
            reply = http.get(url)
        end = time.monotonic() + 20
        while ledger.payments()[0].state not in ("CLAIMED", "CONFIRMED") and time.monotonic() < end:  # nobody waits for an agent's good news
            time.sleep(0.01)
    service.stop()
    ledger.flush()
    print(json.dumps({"count": count, "status": reply.status_code, "states": [each.state for each in ledger.payments()], "notes": notes,
                      "uses": [each.uses_left for each in ledger.tokens()], "wrong": ledger.verify()}))
    """)


def killed(payer, shop, tmp_path, points):
    """One purchase for each point at which its process dies, until one has fewer; then a fresh process judges. -> how many were judged."""
    box, judged = payer.box, 0
    facts = [box.payer_key.hex(), box.rpc_url, network("base-sepolia").id, shop.url()]
    for number in points:
        home = tmp_path / str(number)
        home.mkdir()
        box.fund(box.payer_address, 200_000)
        before, opened = box.balance(box.pay_to), len(shop.opened)
        first = run(CODE, str(home), *facts, str(number), timeout=120)
        if first.returncode == 0:
            break
        assert first.returncode == -9, first.stderr[-2000:]
        then = run(CODE, str(home), *facts, "0", timeout=120)
        assert then.returncode == 0, (number, then.stderr[-2000:])
        told = json.loads(then.stdout)
        assert told["status"] == 200 and not told["wrong"], (number, told)
        assert box.balance(box.pay_to) - before == 100_000, (number, told)
        assert [each for each in told["states"] if each != "RELEASED"] in (["CLAIMED"], ["CONFIRMED"]), (number, told)
        assert len(told["uses"]) == 1 and told["uses"][0] <= 100 - (len(shop.opened) - opened), (number, told)
        judged += 1
    return judged


def test_some_points_of_a_signers_purchase(payer, shop, tmp_path):
    assert killed(payer, shop, tmp_path, (24, 53)) == 2


@pytest.mark.full
def test_every_point_of_a_signers_purchase(payer, shop, tmp_path):
    assert killed(payer, shop, tmp_path, range(1, 1000)) > 60
