"""A child process that was given a slip: pays what it is told on stdin, and says what came of each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from x402_agent import Payer, PaymentError, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger


def main() -> None:
    facts = json.loads(os.environ["FACTS"])
    try:
        payer = Payer(
            wallet=Wallet.from_key(facts["key"]), policy=Policy(networks=("base-sepolia",)), settings=Settings.load(),
            ledger=SqliteLedger(Path(facts["ledger"]), sandbox=True),
        )  # fmt: skip
    except PaymentError as why:
        print(json.dumps(["no payer", type(why).__name__, why.what]), flush=True)
        return
    print(json.dumps(["ready", repr(payer.settings), payer.bounds.under.task]), flush=True)
    with payer, payer.client() as http:
        for line in sys.stdin:
            url, *tasks = line.split()
            if url == "slip":
                print(json.dumps(["slip", payer.slip(*tasks)]), flush=True)
                continue
            try:
                with payer.task(tasks[0]) if tasks else payer.task("own"):
                    said = [http.get(url).status_code]
            except PaymentError as why:
                said = [type(why).__name__, why.what, why.rule]
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
