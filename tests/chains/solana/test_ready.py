"""Before anything is held: which chain, the mint, both accounts, a blockhash of our own; and nobody asked where policy trusts."""

from __future__ import annotations

from base64 import b64encode

import pytest

from chains.solana.svm import GENESIS, PAYEE, PAYER, USDC, Node, text
from x402_agent.chains.solana.message import TOKEN, TOKEN_2022, address_bytes, anchored, associated
from x402_agent.errors import NoAcceptableOffer, NodeError, SettingsError
from x402_agent.model import ChainRules

HASH = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi"
LATEST = {"context": {"slot": 700}, "value": {"blockhash": HASH, "lastValidBlockHeight": 1000}}
OURS, THEIRS = (associated(text(pair), USDC, TOKEN) for pair in (PAYER, PAYEE))


def mint(decimals=6, ready=1, program=TOKEN, tail=b""):
    data = bytes(44) + bytes((decimals, ready)) + bytes(36)
    if tail:
        data = data.ljust(165, b"\0") + b"\1" + tail
    return {"owner": program, "data": [b64encode(data).decode(), "base64"], "lamports": 2_039_280}


def extension(kind, size=32):
    return kind.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


def holding(pair, amount, *, state=1, token=USDC, program=TOKEN):
    data = address_bytes(token) + bytes(pair.pubkey()) + amount.to_bytes(8, "little") + bytes(36) + bytes((state,)) + bytes(56)
    return {"owner": program, "data": [b64encode(data).decode(), "base64"], "lamports": 2_039_280}


def net(**changes):
    rows = [changes.pop(name, honest) for name, honest in
            (("mint", mint()), ("source", holding(PAYER, 10_000)), ("target", holding(PAYEE, 0)))]  # fmt: skip
    return Node(one={"getMultipleAccounts": {"value": rows}, "getLatestBlockhash": LATEST, **changes})


def ready(solana, offer, nodes, **rules):
    return nodes.drive(solana.prepare(offer, text(PAYER), nodes.url if nodes.nodes else "", ChainRules(**rules)))


def test_three_calls_and_the_anchor_says_hash_height_and_slot(solana, offer):
    nodes = net()
    made = ready(solana, offer(), nodes)
    assert (made.text, made.number) == (f"{HASH}:1000:700", -1)
    assert anchored(made)[:3] == (address_bytes(HASH), 1000, 700)
    assert nodes.methods == ["getGenesisHash", "getMultipleAccounts", "getLatestBlockhash"]
    assert nodes.calls[1][1] == [[USDC, OURS, THEIRS], {"encoding": "base64", "commitment": "confirmed"}]


def test_C12_a_sellers_blockhash_serves_only_where_policy_trusts_it(solana, offer):
    given = offer(blockhash="GfVcyD4kkTrj4bKc7WA9sZCin9JDbdT4Zkd3EittNR1W")
    assert ready(solana, given, net()).text == f"{HASH}:1000:700"
    nodes = net()
    assert ready(solana, given, nodes, trusting=True).text == "GfVcyD4kkTrj4bKc7WA9sZCin9JDbdT4Zkd3EittNR1W:0:0"
    assert nodes.calls == []
    assert ready(solana, offer(blockhash="1" * 44), net(), trusting=True).text == f"{HASH}:1000:700"


def test_without_a_node_it_says_what_to_set(solana, offer):
    with pytest.raises(NoAcceptableOffer) as caught:
        ready(solana, offer(blockhash=HASH), Node())
    assert "X402_AGENT_NODES='solana-devnet=https://" in caught.value.hint and "trust_blockhash" in caught.value.hint


def test_what_must_be_set_is_known_before_an_offer_is_chosen(solana, offer):
    his = offer(blockhash=HASH)
    assert "X402_AGENT_NODES='solana-devnet=https://…'" in solana.unset(his, "", ChainRules())
    assert solana.unset(offer(), "", ChainRules(trusting=True)) == solana.unset(offer(), "", ChainRules()) != ""
    assert solana.unset(his, "", ChainRules(trusting=True)) == solana.unset(offer(), "https://n.example", ChainRules()) == ""


@pytest.mark.parametrize(("row", "held"), [(holding(PAYER, 7), 7), (None, 0), (mint(), 0), (holding(PAYEE, 7), 0),
                                           (holding(PAYER, 7, program=TOKEN_2022), 0), (holding(PAYER, 7, token=text(PAYEE)), 0)])  # fmt: skip
def test_balances(solana, offer, row, held):
    nodes = Node(one={"getMultipleAccounts": {"value": [row]}})
    assert nodes.drive(solana.balance(offer().asset, text(PAYER), nodes.url)) == held
    assert nodes.calls[-1][1][0] == [OURS]


def test_C3_another_chain(solana, offer):
    for odd, words in ((USDC, "it is on chain 4zMMC9srt5Ri5X14GAgXhaHii3GnPAEE"), ("x" * 200, "no chain id"), (5, "no chain id")):
        with pytest.raises(NodeError, match=words):
            ready(solana, offer(), net(getGenesisHash=odd))
    assert GENESIS.startswith("EtWTRABZaYq6iMfeYKouRu166VU2xqa1")


BAD = {
    "we have 0.0000 USDC": {"source": None},
    "we have 0.009999 USDC": {"source": holding(PAYER, 9_999)},
    "our account of USDC is frozen": {"source": holding(PAYER, 10_000, state=2)},
    "our account of USDC is not ours": {"source": holding(PAYEE, 10_000)},
    "our account of USDC is not one": {"source": holding(PAYER, 10_000, state=0)},
    "has no account of USDC": {"target": None},
    "the payee's account of USDC is another's": {"target": holding(PAYER, 0)},
    "the payee's account of USDC is another's ": {"target": holding(PAYEE, 0, token=text(PAYER))},
    "the payee's account of USDC is another's  ": {"target": holding(PAYEE, 0, program=TOKEN_2022)},
    "the payee's account of USDC is frozen": {"target": holding(PAYEE, 0, state=2)},
    "the payee's account of USDC is not one": {"target": mint()},
    "is no mint of its token program": {"mint": mint(program=TOKEN_2022)},
    "is no mint of its token program ": {"mint": None},
    "has 9 decimals there, not 6": {"mint": mint(decimals=9)},
    "is no mint there": {"mint": mint(ready=0)},
    "is no mint there ": {"mint": holding(PAYER, 1)},
}


@pytest.mark.parametrize("words", BAD)
def test_R9_A13_what_would_not_settle_is_not_held(solana, offer, words):
    with pytest.raises(NoAcceptableOffer) as caught:
        ready(solana, offer(), net(**BAD[words]))
    assert words.strip() in caught.value.what
    assert ("(R9)" in caught.value.rule) == ("has no account" in words)


EXTENSIONS = {1: "transfer fee", 4: "confidential", 6: "default state", 9: "ban", 12: "permanent delegate", 14: "transfer hook",
              26: "pause", 27: "extension 27", 999: "extension 999", 10: "interest", 25: "scaled"}  # fmt: skip


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_A10_extensions_that_take_or_stop_money(solana, offer, monkeypatch, kind):
    for name in ("message", "mint", "ready"):
        monkeypatch.setattr(f"x402_agent.chains.solana.{name}.program_of", lambda _: TOKEN_2022)
    rows = {"source": holding(PAYER, 10_000, program=TOKEN_2022), "target": holding(PAYEE, 0, program=TOKEN_2022)}
    harmless = extension(18, 64) + extension(19, 100) + extension(3)
    fine = net(mint=mint(program=TOKEN_2022, tail=harmless + bytes(7)), **rows)
    assert ready(solana, offer(), fine).text
    for tail in (extension(kind), harmless + extension(kind)):
        with pytest.raises(NoAcceptableOffer, match=EXTENSIONS[kind]):
            ready(solana, offer(), net(mint=mint(program=TOKEN_2022, tail=tail), **rows))


ODD = [None, {}, [], {"value": None}, {"value": {"blockhash": HASH, "lastValidBlockHeight": "1000"}, "context": {"slot": 7}},
       {"value": {"blockhash": HASH, "lastValidBlockHeight": -1}, "context": {"slot": 7}}, {"value": {"blockhash": "x", "lastValidBlockHeight": 1}, "context": {"slot": 7}},
       {"value": {"blockhash": HASH, "lastValidBlockHeight": 1000}}, {"value": {"blockhash": HASH, "lastValidBlockHeight": True}, "context": {"slot": 7}},
       {"value": {"blockhash": 5, "lastValidBlockHeight": 1000}, "context": {"slot": 7}}, {"value": {"blockhash": HASH, "lastValidBlockHeight": 0}, "context": {"slot": 0}}]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_answer_of_another_shape_is_none(solana, offer, odd):
    with pytest.raises(NodeError, match="readable answer"):
        ready(solana, offer(), net(getLatestBlockhash=odd))


@pytest.mark.parametrize("rows", [None, [], [mint()], [mint(), None, None, None], [5, 5, 5], [{"owner": TOKEN, "data": "AA=="}] * 3,
                                  [{"owner": TOKEN, "data": ["\u00e9", "base64"]}] * 3, [{"owner": "x", "data": ["", "base64"]}] * 3])  # fmt: skip
def test_accounts_of_another_shape_are_none(solana, offer, rows):
    with pytest.raises(NodeError, match="readable answer"):
        ready(solana, offer(), net(getMultipleAccounts={"value": rows}))


def test_C19_C20_a_node_url_is_admitted_and_its_key_never_shown(solana, offer):
    with pytest.raises(SettingsError, match="C20"):
        Node().drive(solana.prepare(offer(), text(PAYER), "http://node.example/", ChainRules()))
    with pytest.raises(NodeError) as caught:
        Silent().drive(solana.prepare(offer(), text(PAYER), "https://node.example/needle", ChainRules()))
    assert "needle" not in str(caught.value)


class Silent(Node):
    def _answer(self, url, sent):
        from x402_agent.steps import Fetched

        return Fetched(401, {}, b"needle")
