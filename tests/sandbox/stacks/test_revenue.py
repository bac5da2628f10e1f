"""`revenue-split` in both of its forms."""

from __future__ import annotations

import pytest

from x402_agent.chains.stacks import ALLOW, Call, Value, uint
from x402_agent.sandbox.stacks.state import STX

DONE = Value("ok", Value("bool", True))


def text(words):
    return Value("ascii", words)


@pytest.fixture(params=["two", "four"])
def shop(world, request):
    """`shop(who, content, amount)` pays; "article" costs 100 microSTX and is the maker's."""
    contract = f"{world.owner.address}.{request.param}"

    def call(who, function, *args):
        tx = who.sign(Call(contract, function, args), world.chain.nonce(who.address), 999, mode=ALLOW)
        return world.submit(tx).result

    ids = iter("abcdefghij")

    def pay(who, content, amount, asset="STX", tx=None):
        more = (text(asset), text(tx or next(ids))) if request.param == "four" else ()
        return call(who, "pay-for-content", text(content), uint(amount), *more)

    assert call(world.maker, "register-content", text("article"), uint(100)) == DONE
    pay.call, pay.contract = call, contract
    return pay


def wealth(world, *names):
    return [world.chain.balance(STX, getattr(world, each).address) for each in names]


@pytest.mark.parametrize(("amount", "maker", "owner"), [(100_000, 80_000, 20_000), (103, 82, 20), (100, 80, 20)])
def test_eighty_to_the_maker_twenty_to_the_platform_and_the_dust_stays(world, shop, amount, maker, owner):
    before = wealth(world, "ann", "maker", "owner")
    assert shop(world.ann, "article", amount) == DONE
    after = wealth(world, "ann", "maker", "owner")
    assert [b - a for a, b in zip(before, after, strict=True)] == [-maker - owner - 999, maker, owner]
    assert world.chain.ask(
        shop.contract, "has-paid", "", [text("article"), Value("principal", world.ann.address)]
    ).value


def test_too_little_is_u101_and_nothing_moves(world, shop):
    before = wealth(world, "maker", "owner")
    assert shop(world.ann, "article", 99) == Value("err", uint(101))
    assert wealth(world, "maker", "owner") == before


def test_maker_and_owner_cannot_pay_themselves(world, shop):
    before = wealth(world, "maker", "owner")
    assert shop(world.maker, "article", 100) == shop(world.owner, "article", 100) == Value("err", uint(2))
    assert wealth(world, "maker", "owner") == [each - 999 for each in before]


def test_a_share_that_rounds_to_nothing_fails_whole(world, shop):
    shop.call(world.maker, "set-price", text("article"), uint(1))
    assert shop(world.ann, "article", 4) == Value("err", uint(3))
    assert wealth(world, "ann") == [10_000_000 - 999]
    assert shop(world.ann, "article", 5) == DONE


def test_who_owns_too_little_gets_the_transfers_own_error(world, shop):
    assert shop(world.ann, "article", 20_000_000) == Value("err", uint(1))


def test_prices_are_their_makers_to_set(world, shop):
    assert shop.call(world.ann, "set-price", text("article"), uint(1)) == Value("err", uint(100))
    assert shop.call(world.ann, "set-price", text("nothing"), uint(1)) == Value("err", uint(103))
    assert shop.call(world.ann, "register-content", text("article"), uint(1)) == Value("err", uint(102))
    assert world.chain.ask(shop.contract, "get-price", "", [text("article")]) == uint(100)


def test_content_that_nobody_made(world, shop):
    paid = shop(world.ann, "unheard", 100)
    if shop.contract.endswith("four"):
        assert paid == Value("err", uint(103))
    else:  # any amount, all of it to the platform
        assert paid == DONE
        assert wealth(world, "owner") == [10_000_100]


def test_the_form_with_four_arguments_takes_each_tx_id_once_and_moves_no_other_asset(world, shop):
    if shop.contract.endswith("two"):
        return
    assert shop(world.ann, "article", 100, tx="one") == DONE
    assert shop(world.bob, "article", 100, tx="one") == Value("err", uint(104))
    before = wealth(world, "maker", "owner")
    assert shop(world.bob, "article", 100, asset="sBTC", tx="two") == DONE
    assert wealth(world, "maker", "owner") == before
    assert shop(world.bob, "article", 99, tx="three") == Value("err", uint(101))
    assert shop(world.bob, "article", 100, tx="three") == DONE
