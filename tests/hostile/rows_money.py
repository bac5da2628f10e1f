"""Rows P, A, D and R of docs/safety.md: what is asked for, in which token, what is signed, and who gets it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from hostile.arena import AGAIN_402, CENT, PAYEE, PAYS, Arena, Case, Expect, refused
from loopback import USDC, Hit
from x402_agent import BudgetExceeded, ChallengeInvalid, NoAcceptableOffer, PolicyDenied, SigningFailed

Scene = Callable[[Arena], str]
OURS = "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"  # the account of the till's key
OVER = refused(BudgetExceeded, "per_call")
UNFIT = refused(NoAcceptableOffer)


def v2(**changes: Any) -> Scene:
    """One entry in a v2 header, with these fields changed; `...` leaves a field out."""

    def scene(arena: Arena) -> str:
        document = arena.seller.terms("/paid")
        document["accepts"][0] = {k: v for k, v in {**document["accepts"][0], **changes}.items() if v is not ...}
        return arena.seller.demands("/paid", document)

    return scene


def v1(**changes: Any) -> Scene:
    """The same in a v1 body."""

    def scene(arena: Arena) -> str:
        document = arena.seller.terms_v1("/paid")
        document["accepts"][0] = {k: v for k, v in {**document["accepts"][0], **changes}.items() if v is not ...}
        return arena.seller.demands("/paid", document)

    return scene


def text(change: Callable[[str], str]) -> Scene:
    """The honest v2 document as text, changed."""
    return lambda arena: arena.seller.demands("/paid", change(json.dumps(arena.seller.terms("/paid"))))


def entries(*made: Callable[[dict[str, Any]], Any]) -> Scene:
    """Several entries, each made of the honest one."""

    def scene(arena: Arena) -> str:
        document = arena.seller.terms("/paid")
        document["accepts"] = [make(dict(document["accepts"][0])) for make in made]
        return arena.seller.demands("/paid", document)

    return scene


def both(row: str, what: str, value: Any, expect: Expect, **more: Any) -> list[Case]:
    """An amount as both versions carry it."""
    return [
        Case(row, f"{what} v2", v2(amount=value), expect, **more),
        Case(row, f"{what} v1", v1(maxAmountRequired=value), expect, **more),
    ]


def visits(*answers: Callable[[Arena], bytes]) -> Scene:
    """An unpaid request gets the first answer, later ones the next, and the last for ever; a proof gets the content."""

    def scene(arena: Arena) -> str:
        left = list(answers)

        def route(hit: Hit) -> bytes:
            if hit.proof:
                return arena.seller.ok()
            return (left.pop(0) if len(left) > 1 else left[0])(arena)

        return arena.seller.serves("/paid", route)

    return scene


def asks(**changes: Any) -> Callable[[Arena], bytes]:
    """A 402 whose entry has these fields changed."""
    return lambda arena: arena.seller.answer(
        402, b"{}", payment_required=arena.seller.packed(arena.seller.terms("/paid", **changes))
    )


def then_402(**changes: Any) -> Scene:
    """An honest 402, and for its proof another one, with these fields changed."""

    def scene(arena: Arena) -> str:
        again = asks(**changes)
        return arena.seller.sells("/paid", lambda hit: again(arena))

    return scene


def value_is(amount: int) -> Callable[[Arena, Any], None]:
    def look(arena: Arena, _: Any) -> None:
        assert [each["value"] for each in arena.proofs] == [str(amount)]

    return look


def lives(seconds: int) -> Callable[[Arena, Any], None]:
    """The authorisation began ten minutes ago and ends `seconds` from now, by our clock."""

    def look(arena: Arena, _: Any) -> None:
        (proof,) = arena.proofs
        assert abs(int(proof["validBefore"]) - time.time() - seconds) < 10
        assert abs(time.time() - 600 - int(proof["validAfter"])) < 10

    return look


def nonce_is_ours(arena: Arena, _: Any) -> None:
    (proof,) = arena.proofs
    assert proof["nonce"] not in ("0x" + "00" * 32, "0x" + "11" * 32)
    assert len(bytes.fromhex(proof["nonce"][2:])) == 32


def one_signature(arena: Arena, _: Any) -> None:
    assert arena.till.signer.count == 1


def harmless_resource(arena: Arena, _: Any) -> None:
    assert arena.other.hits == []


def raising(*_: object) -> bool:
    raise RuntimeError("the screening service is down")


BIG = 1 << 256
PRICE = [
    *both("P1", "one unit over the cap", "100001", OVER),
    Case("P2", "the largest uint256", v2(amount=str(BIG - 1)), OVER),
    *both("P2", "wraps to ten thousand", str(BIG + CENT), refused(ChallengeInvalid, "P2")),
    *both("P3", "negative", "-1", refused(ChallengeInvalid, "P3")),
    *both("P4", "a decimal", "0.01", refused(ChallengeInvalid, "P4")),
    *both("P4", "a float", 10000.0, refused(ChallengeInvalid, "P4")),
    *[case for n, t in enumerate(["1e4", "0x2710", "10_000", " +10000 "]) for case in both("P5", f"spelling {n}", t, refused(ChallengeInvalid, "P5"))],
    *both("P6", "full width", "１００００", refused(ChallengeInvalid, "P6")),
    *both("P6", "arabic", "١٠٠٠٠", refused(ChallengeInvalid, "P6")),
    *both("P7", "five thousand digits", "1" * 5000, refused(ChallengeInvalid, "P7")),
    *[case for n, t in enumerate(["", None, "0", 0, ...]) for case in both("P8", f"nothing {n}", t, refused(ChallengeInvalid, "P8"))],
    Case("P9", "the description is cheaper", lambda a: a.seller.demands("/paid", a.seller.terms("/paid", 900_000, description="0.01 USDC")), OVER),
    Case("P10", "false decimals", v2(amount="200000", extra={"decimals": 18}), OVER),
    Case("P11", "both fields", v2(maxAmountRequired="1"), PAYS, then=value_is(CENT)),
    Case("P11", "the other field alone", v2(amount=..., maxAmountRequired="1"), refused(ChallengeInvalid, "P8")),
    Case("P12", "a key twice", text(lambda t: t.replace('"amount":', '"amount": "1", "amount":')), refused(ChallengeInvalid, "P12")),
    Case("P13", "an upto ceiling over the cap", v2(scheme="upto", amount="5000000", extra={"facilitatorAddress": "0x" + "fa" * 20}), OVER),
    Case("P14", "a deposit beside the price", v2(extra={"depositAmount": "50000000", "paymentFlow": "escrow"}), PAYS, then=value_is(CENT)),
    Case("P14", "a scheme of deposits", v2(scheme="batch-settlement", amount="50000000"), UNFIT),
    Case("P16", "salami", lambda a: a.seller.sells("/paid", amount=99_900), Expect(error=BudgetExceeded, rule="day", proofs=2, counted=199_800), times=3, policy={"day": 250_000}),
    Case("P17", "fees in extra", v2(extra={"feeAmount": "50000000", "facilitatorFee": "50000000", "gasFee": 50_000_000}), PAYS, then=value_is(CENT)),
    Case("P18", "a token without a peg", v2(asset="0x4200000000000000000000000000000000000006"), refused(NoAcceptableOffer, "A1")),
]  # fmt: skip

MAINNET = {"networks": ("mainnet",), "loopback": True}
REAL_USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
ASSET = [
    Case("A1", "a stranger called USDC", v2(asset="0x" + "66" * 20), refused(NoAcceptableOffer, "A1")),
    *[Case("A2", f"address {n}", v2(asset=made), refused((NoAcceptableOffer, ChallengeInvalid)))
      for n, made in enumerate([USDC[:-1] + "f", USDC + "00", USDC[:-1], "0х" + USDC[2:], USDC + "\n", [USDC], None])],
    Case("A3", "real money to a test wallet", v2(network="eip155:8453", asset=REAL_USDC), refused(NoAcceptableOffer, "networks")),
    Case("A4", "a token of another chain", v2(asset=REAL_USDC), refused(NoAcceptableOffer, "A1")),
    Case("A4", "the other way", v2(network="eip155:8453"), refused(NoAcceptableOffer, "A1"), policy=MAINNET),
    *[Case("A5", f"network {n}", v2(network=made), refused((NoAcceptableOffer, ChallengeInvalid), "A5"))
      for n, made in enumerate(["eip155:084532", "eip155:84532 ", "base-sepolia-2", "EIP155:84532", "eip155:84532\u200b", 84532, None])],
    Case("A6", "the zero address", v2(asset="0x" + "00" * 20), refused(NoAcceptableOffer, "A1")),
    Case("A6", "the native coin", v2(asset="0x" + "ee" * 20), refused(NoAcceptableOffer, "A1")),
    Case("A7", "an unknown scheme", v2(scheme="subscription"), refused(NoAcceptableOffer, "A7")),
    Case("A8", "the asset changes after payment", then_402(asset="0x" + "66" * 20), AGAIN_402, times=2),
    Case("A9", "the first offer is poisoned", entries(lambda e: {**e, "amount": "-1"}, lambda e: {**e, "asset": "0x" + "66" * 20}, dict), PAYS),
    Case("A9", "the first offer is dearer", entries(lambda e: {**e, "amount": "90000"}, dict), PAYS, then=value_is(CENT)),
    Case("A10", "a rebasing token", v2(network="eip155:1", asset="0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84"), refused(NoAcceptableOffer), policy=MAINNET),
    Case("A12", "a bridged look-alike", v2(network="eip155:8453", asset="0xd9aAEc86B65D86f6A7B5B1b0c42FFA531710b6CA"), refused(NoAcceptableOffer, "A1"), policy=MAINNET),
    Case("A14", "CAIP-2 in v1", v1(network="eip155:84532"), PAYS),
    Case("A14", "an alias in v2", v2(network="base-sepolia"), PAYS),
    Case("A14", "glued together", v2(network="eip155:base-sepolia"), refused(NoAcceptableOffer, "A5")),
]  # fmt: skip


def wraps(arena: Arena) -> str:
    """D12: a signer that answers with a wrapped signature, as smart wallets do."""
    sign = arena.till.signer.sign_digest
    arena.till.signer.sign_digest = lambda ns, d: sign(ns, d) + b"\x64\x92" * 16  # type: ignore[method-assign]
    return arena.seller.sells("/paid")


def late_clock(arena: Arena) -> str:
    asked = arena.seller.ask("/paid", date="Tue, 01 Jan 2047 00:00:00 GMT", age="0")
    return arena.seller.serves("/paid", lambda hit: arena.seller.ok() if hit.proof else asked)


def sign_in(required: bool) -> Scene:
    def scene(arena: Arena) -> str:
        message = "evil.example wants you to sign in with your Ethereum account"
        info = {"domain": "evil.example", "message": message, "required": required}
        document = {**arena.seller.terms("/paid"), "extensions": {"sign-in-with-x": {"info": info}}}
        return arena.seller.demands("/paid", document)

    return scene


SPONSORED = {"eip2612GasSponsoring": {"info": {}}, "erc20ApprovalGasSponsoring": {"info": {}}}
SIGNED = [
    Case("D1", "another name", v2(extra={"name": "Evil", "version": "2"}), PAYS),
    Case("D1", "another version", v2(extra={"name": "USDC", "version": "9"}), PAYS),
    Case("D2", "a domain of his own", v2(extra={"verifyingContract": "0x" + "66" * 20, "chainId": 1, "primaryType": "Permit", "types": {"Permit": []}}), PAYS),
    Case("D3", "gas sponsoring", lambda a: a.seller.demands("/paid", {**a.seller.terms("/paid"), "extensions": SPONSORED}), PAYS, then=one_signature),
    Case("D4", "permit2 with a spender of his", v2(extra={"assetTransferMethod": "permit2", "spender": "0x" + "66" * 20}), refused(NoAcceptableOffer, "wallet approve USDC --for permit2")),
    Case("D5", "ten years", v2(maxTimeoutSeconds=315_360_000), PAYS, then=lives(600)),
    Case("D5", "ten years and no limit of ours", v2(maxTimeoutSeconds=315_360_000), PAYS, policy={"max_lifetime": 3600}, then=lives(3600)),
    Case("D5", "two to the seventieth", v2(maxTimeoutSeconds=1 << 70), refused(ChallengeInvalid, "D5")),
    *[Case("D6", f"lifetime {n}", v2(maxTimeoutSeconds=made), refused(ChallengeInvalid, "D6")) for n, made in enumerate([-1, 0, "60", 60.5, None, True])],
    Case("D7", "a clock years ahead", late_clock, PAYS, then=lives(60)),
    Case("D8", "post-dated", v2(extra={"validAfter": "99999999999", "validBefore": "999999999999"}), PAYS, then=lives(60)),
    Case("D11", "sign in elsewhere", sign_in(required=False), PAYS, then=one_signature),
    Case("D11", "sign in elsewhere or nothing", sign_in(required=True), refused(ChallengeInvalid, "W15")),
    Case("D12", "a wrapped signature", wraps, refused(SigningFailed, "65 bytes")),
    Case("D13", "a nonce of his", v2(extra={"nonce": "0x" + "11" * 32}, nonce="0x" + "00" * 32), PAYS, then=nonce_is_ours),
]  # fmt: skip

TWIN = "0xab" + "cd" * 18 + "ab"
RECIPIENT = [
    Case("R1", "the zero address", v2(payTo="0x" + "00" * 20), refused(NoAcceptableOffer, "R1")),
    Case("R1", "a precompile", v2(payTo="0x" + "00" * 19 + "04"), refused(NoAcceptableOffer, "R1")),
    Case("R1", "the token itself", v2(payTo=USDC), refused(NoAcceptableOffer, "R1")),
    Case("R1", "ourselves", v2(payTo=OURS), refused(NoAcceptableOffer, "R1")),
    *[Case("R2", f"no address {n}", v2(payTo=made), refused((NoAcceptableOffer, ChallengeInvalid), "R2"))
      for n, made in enumerate(["0x1234", "vitalik.eth", None, "0xfb6916095ca1df60bB79Ce92cE3Ea74c37c5d359", PAYEE + "\n", ["0x"]])],
    Case("R3", "a look-alike after payment", then_402(payTo=TWIN), AGAIN_402, times=2),
    Case("R4", "another one on the next visit", visits(asks(), asks(payTo="0x" + "cd" * 20)), Expect(error=PolicyDenied, rule="R4", proofs=1, counted=CENT), times=2),
    Case("R5", "header and body disagree", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.ask("/paid", body=json.dumps(a.seller.terms_v1("/paid", 1)).encode())), PAYS, then=value_is(CENT)),
    Case("R6", "the resource is elsewhere", lambda a: a.seller.demands("/paid", {**a.seller.terms("/paid"), "resource": {"url": a.other.url("/else")}}), PAYS, then=harmless_resource),
    Case("R7", "a look-alike of the pinned one", visits(asks(), asks(payTo=TWIN)), Expect(error=PolicyDenied, rule="R4", proofs=1, counted=CENT), times=2),
    Case("R8", "the hook that screens is down", v2(), refused(PolicyDenied, "approve_above"), policy={"approve_above": 0}, options={"approve": raising}),
]  # fmt: skip

CASES = [*PRICE, *ASSET, *SIGNED, *RECIPIENT]
