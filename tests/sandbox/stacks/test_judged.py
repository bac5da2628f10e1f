"""The double is not judged by its author alone: 200 signed transactions, half of them mutated, get the same verdict from it
as from stacks.js and clarinet's simnet, and leave the same balances. Needs Node, and both packages in STACKS_DIR."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from x402_agent.chains.stacks import ALLOW, DENY, Call, PostCondition, Transfer, Value, sip010_transfer, uint
from x402_agent.sandbox.stacks.pool import Rejected
from x402_agent.sandbox.stacks.signed import Malformed

HERE = Path(__file__).parent
SOURCES = Path(__file__).parents[3] / "x402_agent" / "sandbox" / "stacks" / "clarity"
ARTICLE = Value("ascii", "article")


class Author:
    """Makes transactions for a world, each with the nonce that is next if the ones before were taken."""

    def __init__(self, world, seed):
        self.world = world
        self.dice = random.Random(seed)
        self.people = [world.ann, world.bob, world.maker, world.owner]
        self.count = 0

    def sign(self, who, payload, conditions=(), mode=DENY, fee=1_000, sponsor=None):
        nonce = self.world.chain.nonce(who.address)
        if sponsor is None or sponsor is who:
            return who.sign(payload, nonce, fee, conditions, mode)
        tx = who.sign(payload, nonce, 0, conditions, mode, sponsored=True)
        return sponsor.sponsor(tx, self.world.chain.nonce(sponsor.address), fee)

    def amount(self, most):
        return self.dice.choice([1, 2, 7, self.dice.randrange(1, most + 1), most + 1])

    def conditions(self, asset, amount):
        exact = PostCondition("", "eq", amount, asset)
        if self.dice.randrange(2):
            return (exact,)
        code = self.dice.choice(["eq", "gt", "ge", "lt", "le"])
        who = self.dice.choice(["", "", self.dice.choice(self.people).address])
        right = PostCondition(who, code, max(0, amount + self.dice.choice([0, 0, 1, -1])), asset)
        return self.dice.choice(
            [
                (right,),
                (right,),
                (right,),
                (),
                (right, PostCondition("", "keeps", 0, f"{self.world.token}::card", uint(1))),
            ]
        )

    def one(self):
        """Some transaction, often right."""
        world, dice = self.world, self.dice
        who, other = dice.sample(self.people, 2)
        self.count += 1
        fee, mode = dice.choice([1_000] * 9 + [150]), dice.choice([DENY, DENY, ALLOW])
        sponsor = dice.choice([None, None, dice.choice(self.people)])
        kind = dice.randrange(8)
        if kind == 0:
            amount = dice.choice([0, 1, 500, 7_000, 10**8])
            return self.sign(
                who,
                Transfer(dice.choice([other.address] * 5 + [who.address]), amount, b"memo"),
                fee=fee,
                sponsor=sponsor,
            )
        if kind < 4:
            amount = self.amount(world.chain.balance(world.asset, who.address) or 5)
            sender = dice.choice([who] * 7 + [other]).address
            to = dice.choice([other] * 7 + [who]).address
            call = sip010_transfer(world.token, amount, sender, to, dice.choice([None, b"hello"]))
            return self.sign(who, call, self.conditions(world.asset, amount), mode, fee, sponsor)
        form = dice.choice(["two", "four"])
        contract = f"{world.owner.address}.{form}"
        content = dice.choice([ARTICLE] * 5 + [Value("ascii", f"other{dice.randrange(3)}")])
        if kind == 4:
            return self.sign(
                who,
                Call(contract, dice.choice(["register-content", "set-price"]), (content, uint(dice.choice([1, 100])))),
                fee=fee,
            )
        amount = dice.choice([4, 99, 100, 103, 1_000, 5_555, 100_000, 10**9])
        more = (
            (Value("ascii", dice.choice(["STX", "STX", "sBTC"])), Value("ascii", f"tx{self.count}"))
            if form == "four"
            else ()
        )
        payload = Call(contract, "pay-for-content", (content, uint(amount), *more))
        moved = amount * 80 // 100 + amount * 20 // 100
        return self.sign(who, payload, self.conditions("", moved), mode, fee)

    def mutated(self):
        """The bytes of one, no longer as they were signed, or signed again with one thing other."""
        tx, dice = self.one(), self.dice
        raw = bytearray(tx.wire())
        kind = dice.randrange(10)
        if kind < 5:
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        elif kind == 5:
            del raw[dice.randrange(len(raw)) :]
        elif kind == 6:
            raw += bytes(dice.randrange(1, 4))
        elif kind == 7:
            return replace(tx, testnet=False).wire()
        else:
            who = next(each for each in self.people if each.address == tx.sender)
            changed = dice.choice([
                lambda: who.sign(tx.does, tx.origin.nonce + 30, 1_000, tx.post_conditions, tx.mode),
                lambda: who.sign(tx.does, max(0, tx.origin.nonce - 1), 1_000, tx.post_conditions, tx.mode),
                lambda: who.sign(Call(self.world.token, "melt", ()), tx.origin.nonce, 1_000),
                lambda: who.sign(Call(f"{self.world.owner.address}.gone", "transfer", ()), tx.origin.nonce, 1_000),
                lambda: who.sign(tx.does, tx.origin.nonce, len(tx.wire()) - 1, tx.post_conditions, tx.mode),
            ])  # fmt: skip
            return changed().wire()
        return bytes(raw)


def ours(world, raw):
    try:
        entry = world.chain.entry(world.chain.submit(raw))
    except (Rejected, Malformed):
        return "refused"
    if entry.status == "dropped_problematic":
        return "refused"
    return entry.status + (f" (err u{entry.result.value.value})" if entry.status == "abort_by_response" else "")


def sources():
    token = (SOURCES / "token.clar").read_text()
    for word, value in (("ASSET", "gold"), ("SYMBOL", "GOLD"), ("DECIMALS", "6")):
        token = token.replace(word, value)
    four, two = ((SOURCES / f"revenue-split{end}.clar").read_text() for end in ("", "-two"))
    return {"coin": token, "two": two, "four": four}


@pytest.mark.proves("stacks", "transfer", "judge", by="clarinet's simnet")
@pytest.mark.proves("stacks", "exact", "judge", by="clarinet's simnet")
@pytest.mark.full
@pytest.mark.parametrize("seed", [20_260, 7])
def test_two_hundred_transactions_get_the_same_verdict_from_stacks_js_and_simnet(world, seed):
    packages = os.environ.get("STACKS_DIR", "")
    assert packages, "set STACKS_DIR to a folder with @stacks/transactions and @stacks/clarinet-sdk; make test-all does"
    people = [world.ann, world.bob, world.maker, world.owner]
    given = {
        "deployer": world.owner.address,
        "coin": world.token,
        "contracts": sources(),
        "mint": {each.address: 10_000_000 for each in people},
        "gold": {each.address: 1_000 for each in people},
    }
    author = Author(world, seed)
    first = [
        author.sign(world.maker, Call(f"{world.owner.address}.{form}", "register-content", (ARTICLE, uint(100))))
        for form in ("two", "four")
    ]
    first[1] = world.maker.sign(first[1].does, 1, 1_000)
    raws, verdicts = [tx.wire() for tx in first], []
    verdicts += [ours(world, raw) for raw in raws]
    for index in range(200):
        raws.append(author.mutated() if index % 2 else author.one().wire())
        verdicts.append(ours(world, raws[-1]))
    ran = subprocess.run(
        ["node", str(HERE / "judge.cjs")],
        input=json.dumps(given | {"raw": [raw.hex() for raw in raws]}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    found = json.loads(ran.stdout)
    assert [(i, a, b) for i, (a, b) in enumerate(zip(verdicts, found["verdicts"], strict=True)) if a != b] == []
    kinds = set(verdicts)
    assert {"success", "refused", "abort_by_post_condition"} < kinds and len(kinds) >= 7, kinds
    assert verdicts[2::2].count("success") >= 25 and verdicts[3::2].count("refused") >= 90
    chain = world.chain
    for each in people:
        who = each.address
        own = [chain.balance("STX", who), chain.balance(world.asset, who), chain.nonce(who)]
        assert [int(number) for number in found["ends"][who]] == own
