"""The contracts that stand on the pretend Stacks: SIP-010 tokens and `revenue-split`, as Python that does what the
`.clar` files beside it do. A test runs both and compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .state import STX, State
from .values import FALSE, NONE, TRUE, Type, Value, ascii_, err, ok, uint

__all__ = ["Contract", "Function", "revenue_split", "sip010"]

Body = Callable[[State, str, list[Any]], Value]
_MEMO: Type = {"optional": {"buffer": {"length": 34}}}
_BALANCE = {"response": {"ok": "uint128", "error": "none"}}
_DONE = {"response": {"ok": "bool", "error": "uint128"}}


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `access` is public or read_only; `body` gets the state, the tx-sender and the bare arguments."""

    access: str
    args: tuple[tuple[str, Type], ...]
    output: Any
    body: Body = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract: `name` is `ADDR.contract`, `tokens` are the fungible tokens that it defines."""

    name: str
    functions: Mapping[str, Function]
    tokens: tuple[str, ...] = ()

    def interface(self) -> dict[str, Any]:
        """What `/v2/contracts/interface` answers."""
        return {
            "functions": [
                {
                    "name": name,
                    "access": each.access,
                    "args": [{"name": arg, "type": kind} for arg, kind in each.args],
                    "outputs": {"type": each.output},
                }
                for name, each in self.functions.items()
            ],
            "variables": [],
            "maps": [],
            "fungible_tokens": [{"name": token} for token in self.tokens],
            "non_fungible_tokens": [],
            "epoch": "Epoch31",
            "clarity_version": "Clarity3",
        }


def _response(code: int) -> Value:
    return err(code) if code else ok(TRUE)


def sip010(name: str, asset: str, symbol: str, decimals: int) -> Contract:
    """A token by SIP-010. `transfer`: err u4 unless the tx-sender is the sender, u3 zero, u2 to itself, u1 too few."""
    token = f"{name}::{asset}"

    def transfer(state: State, caller: str, args: list[Any]) -> Value:
        amount, sender, recipient = args[:3]
        return err(4) if caller != sender else _response(state.transfer(token, amount, sender, recipient))

    def constant(value: Value) -> Body:
        return lambda _state, _caller, _args: ok(value)

    text = {"response": {"ok": {"string-ascii": {"length": 32}}, "error": "none"}}
    uri = {"response": {"ok": {"optional": {"string-utf8": {"length": 256}}}, "error": "none"}}
    whom: Type = "principal"
    functions = {
        "transfer": Function(
            "public", (("amount", "uint128"), ("sender", whom), ("recipient", whom), ("memo", _MEMO)), _DONE, transfer
        ),
        "get-name": Function("read_only", (), text, constant(ascii_(symbol))),
        "get-symbol": Function("read_only", (), text, constant(ascii_(symbol))),
        "get-decimals": Function("read_only", (), _BALANCE, constant(uint(decimals))),
        "get-balance": Function(
            "read_only",
            (("who", whom),),
            _BALANCE,
            lambda state, _caller, args: ok(uint(state.balance(token, args[0]))),
        ),
        "get-total-supply": Function(
            "read_only", (), _BALANCE, lambda state, _caller, _args: ok(uint(state.supply(token)))
        ),
        "get-token-uri": Function("read_only", (), uri, constant(NONE)),
    }
    return Contract(name, functions, (asset,))


def revenue_split(name: str, owner: str, four: bool) -> Contract:
    """80 % of a price to whoever made the content, 20 % to the platform's `owner`, in STX; dust stays with the payer.

    Errors: u100 not yours, u101 too little, u102 there already, u103 no such content, u104 `tx-id` used; u2 and u3 are
    the transfer's own: to oneself, and a share that rounds to nothing. The form with two arguments knows no tx-id,
    and takes any amount for content that has no price: its maker is then the owner.
    """
    words: Type = {"string-ascii": {"length": 256 if four else 50}}
    more: tuple[tuple[str, Type], ...] = (
        (("asset", {"string-ascii": {"length": 10}}), ("tx-id", {"string-ascii": {"length": 64}})) if four else ()
    )
    pay = _pay_four if four else _pay_two
    functions = {
        "register-content": Function(
            "public", (("content-id", words), ("price", "uint128")), _DONE, partial(_register, name)
        ),
        "set-price": Function("public", (("content-id", words), ("price", "uint128")), _DONE, partial(_price, name)),
        "pay-for-content": Function(
            "public",
            (("content-id", words), ("payment-amount" if not four else "amount", "uint128"), *more),
            _DONE,
            partial(pay, name, owner),
        ),
        "get-price": Function(
            "read_only",
            (("content-id", words),),
            "uint128",
            lambda state, _caller, args: uint(_content(state, name, args[0])[1]),
        ),
        "has-paid": Function(
            "read_only",
            (("content-id", words), ("who", "principal")),
            "bool",
            lambda state, _caller, args: TRUE if state.get(name, ("paid", *args)) else FALSE,
        ),
    }
    return Contract(name, functions)


def _content(state: State, name: str, content: str) -> tuple[str, int]:
    """Maker and price; ("", 0) when nobody made it."""
    found = state.get(name, ("content", content))
    return found if isinstance(found, tuple) else ("", 0)


def _register(name: str, state: State, caller: str, args: list[Any]) -> Value:
    content, price = args
    if _content(state, name, content)[0]:
        return err(102)
    state.put(name, ("content", content), (caller, price))
    return ok(TRUE)


def _price(name: str, state: State, caller: str, args: list[Any]) -> Value:
    content, price = args
    maker, _ = _content(state, name, content)
    if not maker:
        return err(103)
    if maker != caller:
        return err(100)
    state.put(name, ("content", content), (caller, price))
    return ok(TRUE)


def _pay_two(name: str, owner: str, state: State, caller: str, args: list[Any]) -> Value:
    content, amount = args
    maker, price = _content(state, name, content)
    return err(101) if amount < price else _split(name, owner, maker or owner, state, caller, content, amount)


def _pay_four(name: str, owner: str, state: State, caller: str, args: list[Any]) -> Value:
    content, amount, asset, tx = args
    maker, price = _content(state, name, content)
    if not maker:
        return err(103)
    if state.get(name, ("tx", tx)):
        return err(104)
    if amount < price:
        return err(101)
    paid = _split(name, owner, maker, state, caller, content, amount) if asset == "STX" else ok(TRUE)
    if paid[0] == "ok":  # for another asset nothing moves, and it says yes all the same: as the published one does
        state.put(name, ("tx", tx), True)
        state.put(name, ("paid", content, caller), True)
    return paid


def _split(name: str, owner: str, maker: str, state: State, caller: str, content: str, amount: int) -> Value:
    for recipient, percent in ((maker, 80), (owner, 20)):
        code = state.transfer(STX, amount * percent // 100, caller, recipient)
        if code:
            return err(code)
    state.put(name, ("paid", content, caller), True)
    return ok(TRUE)
