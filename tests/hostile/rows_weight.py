"""Rows S, T and V of docs/safety.md: size, time, and what sellers say of a settlement."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx

from hostile.arena import CENT, PAYS, UNTOUCHED, Arena, Case, Expect, refused
from hostile.rows_http import DELIVERED, IN_DOUBT, bytes_, raw_header, says, short_echo
from loopback import Answer, Hit, Seller, reads
from x402_agent import ChallengeInvalid, NoAcceptableOffer, PaymentError

Scene = Callable[[Arena], str]
LIBRARY = refused(httpx.TransportError)
LATE = refused(httpx.TimeoutException)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n"
MEGABYTE = 1 << 20


def flood(arena: Arena, first: bytes, piece: bytes, pieces: int) -> Iterator[bytes]:
    """`piece` over and over, never held as a whole."""
    yield first
    for _ in range(pieces):
        if arena.seller.stop.is_set():
            return
        yield piece


def first_answer(first: bytes, piece: bytes = b"a" * 65536, pieces: int = 0) -> Scene:
    return lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else flood(a, first, piece, pieces))


def paid_answer(first: bytes, piece: bytes = b"a" * 65536, pieces: int = 0) -> Scene:
    return lambda a: a.seller.sells("/paid", lambda hit: flood(a, first, piece, pieces))


@cache
def bomb(megabytes: int, start: bytes = b"") -> bytes:
    """That many megabytes of blanks in a thousandth of the room."""
    squeezer = zlib.compressobj(1, wbits=31)
    blanks = b" " * MEGABYTE
    return b"".join([squeezer.compress(start), *[squeezer.compress(blanks) for _ in range(megabytes)], squeezer.flush()])


def beside_header(body: bytes, length: int | None = None, **headers: str) -> Scene:
    """A valid header, and this for a body, of which `length` is promised."""

    def scene(arena: Arena) -> str:
        asked = arena.seller.ask("/paid", body=body, **headers)
        asked = asked.replace(b"content-length: %d" % len(body), b"content-length: %d" % (length or len(body)))
        if length is None:
            return arena.seller.serves("/paid", lambda hit: arena.seller.ok() if hit.proof else asked)
        return arena.seller.serves("/paid", lambda hit: arena.seller.ok() if hit.proof else flood(arena, asked, b"a" * 65536, 6000))

    return scene


def of_402(body: bytes, **headers: str) -> Scene:
    return lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else Seller.answer(402, body, **headers))


OURS = b'{"x402Version":1,"accepts":'
DEEP = b"[" * 200_000 + b"]" * 200_000


def many_entries(count: int) -> Callable[[Arena], str]:
    def scene(arena: Arena) -> str:
        document = arena.seller.terms_v1("/paid")
        document["accepts"] = [{"scheme": "x"}] * count + document["accepts"]
        return arena.seller.demands("/paid", document)

    return scene


def keys(count: int) -> bytes:
    """Many keys and many backslashes: what makes bad parsers quadratic."""
    pairs = ",".join(f'"{n:05d}":"\\\\\\""' for n in range(count))
    return b'{"x402Version":1,"junk":{%s},"accepts":[]}' % pairs.encode()


SIZE = [
    Case("S1", "an endless header", bytes_(b"HTTP/1.1 402 X\r\nx: ", *[b"a" * 65536] * 40), LIBRARY),
    Case("S1", "a million headers", bytes_(b"HTTP/1.1 402 X\r\n", *[b"x: y\r\n" * 10_000] * 40), LIBRARY),
    Case("S1", "an endless header after payment", paid_answer(b"HTTP/1.1 200 OK\r\nx: ", pieces=40), IN_DOUBT),
    Case("S2", "384 MB beside a header", beside_header(b"", 384 * MEGABYTE), PAYS),
    Case("S2", "384 MB that nobody understands", first_answer(b"HTTP/1.1 402 X\r\ncontent-length: %d\r\n\r\n" % (384 * MEGABYTE), pieces=6000), UNTOUCHED, request={"stream": 1}),
    Case("S2", "384 MB that say x402", first_answer(b"HTTP/1.1 402 X\r\ncontent-length: %d\r\n\r\n%s[" % (384 * MEGABYTE, OURS), pieces=6000), refused(ChallengeInvalid, "S2")),
    Case("S3", "a gzip bomb beside a header", lambda a: beside_header(bomb(160), content_encoding="gzip")(a), PAYS),
    Case("S3", "a gzip bomb that says x402", lambda a: of_402(bomb(48, OURS), content_encoding="gzip")(a), refused(ChallengeInvalid, "S3")),
    Case("S3", "a gzip bomb that nobody understands", lambda a: of_402(bomb(48), content_encoding="gzip")(a), UNTOUCHED, request={"stream": 1}),
    Case("S3", "twice squeezed", lambda a: of_402(gzip.compress(bomb(1, OURS)), content_encoding="gzip, gzip")(a), UNTOUCHED, request={"stream": 1}),
    Case("S4", "384 MB after payment", paid_answer(HEAD.replace(b"100", b"%d" % (6000 * 65536)) + b"\r\n", pieces=6000), DELIVERED, request={"stream": 6000 * 65536}),
    Case("S4", "a gzip bomb after payment", lambda a: a.seller.sells("/paid", a.seller.ok(bomb(160), content_encoding="gzip")), DELIVERED, request={"stream": 1}),
    Case("S5", "deep", of_402(DEEP), UNTOUCHED),
    Case("S5", "deep and x402", of_402(OURS + DEEP[:20_000] + DEEP[-20_000:] + b"}"), refused(ChallengeInvalid, "S5")),
    Case("S5", "deep in the header", lambda a: raw_header(Seller.packed(OURS + DEEP[:15_000] + DEEP[-15_000:] + b"}"))(a), refused(ChallengeInvalid, "S5")),
    Case("S5", "deep after payment", lambda a: a.seller.sells("/paid", a.seller.ok(DEEP)), Expect(body=DEEP, outcome="spent", proofs=1, counted=CENT)),
    Case("S6", "a hundred thousand entries", many_entries(100_000), refused(ChallengeInvalid, "64 KiB")),
    Case("S6", "the good one is the hundredth", many_entries(99), refused(NoAcceptableOffer, "A7")),
    Case("S6", "one long string", lambda a: of_402(OURS + b'"' + b"a" * 8_000_000 + b'"}')(a), refused(ChallengeInvalid, "64 KiB")),
    Case("S6", "a header of ninety thousand", raw_header("A" * 90_000), refused(ChallengeInvalid, "S6")),
    Case("S7", "a receipt of sixty thousand", lambda a: a.seller.sells("/paid", a.seller.ok(payment_response=Seller.receipt(junk="x" * 45_000))), PAYS),
    Case("S7", "an extension of fifty thousand", lambda a: a.seller.demands("/paid", {**a.seller.terms("/paid"), "extensions": {"big": {"info": "x" * 40_000}}}), PAYS, then=short_echo),
    Case("S8", "brotli", of_402(b"\x8b\x01" + bytes(40), content_encoding="br"), UNTOUCHED, request={"stream": 0}),
    Case("S8", "zstd", of_402(b"\x28\xb5\x2f\xfd" + bytes(40), content_encoding="zstd"), UNTOUCHED, request={"stream": 0}),
    Case("S9", "three thousand keys", of_402(keys(3000)), refused(ChallengeInvalid, "W4"), seconds=2),
    Case("S9", "backslashes", of_402(OURS + b'["' + b"\\\\" * 30_000 + b'"]}'), refused(ChallengeInvalid, "W4"), seconds=2),
]  # fmt: skip


def drip(first: bytes, piece: bytes) -> Callable[[Arena], Answer]:
    return lambda arena: lambda hit: arena.seller.drip(first, piece=piece)


def hang(arena: Arena) -> Answer:
    return arena.seller.hang


STALLS: dict[str, Callable[[Arena], Answer]] = {
    "T1 says nothing": hang,
    "T2 drips headers": drip(b"HTTP/1.1 402 X\r\n", b"x-drip: 1\r\n"),
    "T2 drips a body": drip(b"HTTP/1.1 402 X\r\ncontent-length: 9000\r\n\r\n", b" "),
    "T3 continues for ever": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
AFTER = {
    "hang": hang,
    "FIN": lambda arena: lambda hit: b"",
    "RST": lambda arena: Hit.reset,
    "half a header": lambda arena: lambda hit: iter([HEAD[:20]]),
    "garbage": lambda arena: lambda hit: iter([b"\x00\xff\x16\x03\r\n\r\n" * 20]),
}
# Before payment every limit may strike: the answer is the same. After it, a busy machine must have had the time to pay.
FIRST: dict[str, Any] = {"deadline": 0.6, "request": {"timeout": reads(0.3)}, "seconds": 3.0}
PAID: dict[str, Any] = {"deadline": 2.0, "request": {"timeout": reads(1.0)}, "seconds": 3.0}


def stalls(how: Callable[[Arena], Answer], *, paid: bool) -> Scene:
    return lambda a: a.seller.sells("/paid", how(a)) if paid else a.seller.serves("/paid", how(a))


def half_body(arena: Arena) -> str:
    return arena.seller.sells("/paid", lambda hit: iter([HEAD + b"\r\nhalf"]))


def lost_once(arena: Arena) -> str:
    return arena.seller.sells("/paid", lambda hit: b"" if len(arena.seller.proofs) == 1 else arena.seller.ok())


def slowly(arena: Arena) -> str:
    def settle(hit: Hit) -> bytes:
        arena.seller.stop.wait(1.5)
        return arena.seller.ok()

    return arena.seller.sells("/paid", settle)


def patient(arena: Arena) -> str:
    """A lifetime of a year, and never an answer."""
    asked = arena.seller.packed(arena.seller.terms("/paid", maxTimeoutSeconds=31_536_000))
    return arena.seller.serves("/paid", lambda hit: arena.seller.hang(hit) if hit.proof else Seller.answer(402, b"", payment_required=asked))


TIME = [
    *[Case(how[:2], f"{how[3:]} first", stalls(made, paid=False), LATE, **FIRST) for how, made in STALLS.items()],
    *[Case(how[:2], f"{how[3:]} after payment", stalls(made, paid=True), IN_DOUBT, **PAID) for how, made in STALLS.items() if how != "T2 drips a body"],
    *[Case("T4", how, stalls(made, paid=True), IN_DOUBT, **PAID) for how, made in AFTER.items()],
    Case("T4", "half a body", half_body, Expect(error=PaymentError, rule="stays counted", proofs=1, counted=CENT)),
    Case("T5", "drips headers after payment", stalls(drip(HEAD[:17], b"x: y\r\n"), paid=True), IN_DOUBT, **PAID),
    *[Case("T6", f"{status} after payment", says("no", status, retry_after="9999"), Expect(status=status, body=b"no", outcome="in_doubt", proofs=1, counted=CENT), times=2)
      for status in (400, 401, 403, 404, 409, 410, 418, 429, 500, 502, 503, 504)],
    Case("T7", "the first answer is lost", lost_once, PAYS),
    Case("T8", "an honest seller takes his time", slowly, PAYS, request={"timeout": reads(1.0)}, deadline=30),
    Case("T9", "a lifetime of a year and no answer", patient, IN_DOUBT, **PAID),
]  # fmt: skip

RECEIPTS: dict[str, dict[str, str]] = {
    "V1 forged": {"payment_response": Seller.receipt(amount="1", payer="0x" + "99" * 20, network="eip155:1")},
    "V2 success false": {"payment_response": Seller.receipt(success=False, transaction="")},
    "V2 a refund": {"payment_response": Seller.receipt(success=False, errorReason="refunded", amount="-10000")},
    "V3 missing": {"payment_response": ""},
    "V3 undecodable": {"payment_response": "%%%"},
    "V3 an array": {"payment_response": base64.b64encode(b'["a", 1]').decode()},
    "V3 wrong types": {"payment_response": Seller.receipt(success="yes", transaction=[1], network={})},
    "V3 deep": {"payment_response": base64.b64encode(DEEP[:20_000] + DEEP[-20_000:]).decode()},
    "V3 escapes": {"payment_response": Seller.receipt(transaction="\x1b[2J\r\n\u202e")},
    "V7 more than was signed": {"payment_response": Seller.receipt(amount="99000000")},
    "V8 somebody else's hash": {"payment_response": Seller.receipt(transaction="0x" + "00" * 32)},
    "V11 a refund in a header": {"payment_response": Seller.receipt(), "x_refund": json.dumps({"amount": "10000"})},
}


def junk(body: bytes, status: int = 200) -> Scene:
    return lambda a: a.seller.sells("/paid", a.seller.answer(status, body, payment_response=Seller.receipt()))


def printable_claim(arena: Arena, _: Any) -> None:
    assert arena.reply.extensions["payment"].transaction.isprintable()


LIES = [
    *[Case(how.partition(" ")[0], how.partition(" ")[2], lambda a, said=said: a.seller.sells("/paid", a.seller.ok(**said)), PAYS, then=printable_claim) for how, said in RECEIPTS.items()],
    Case("V6", "the same proof shown thrice is one nonce", lambda a: a.seller.sells("/paid", Seller.answer(500, b"")), Expect(status=500, body=b"", outcome="in_doubt", proofs=1, counted=CENT), times=3),
    Case("V10", "an empty body", junk(b""), Expect(body=b"", outcome="spent", proofs=1, counted=CENT)),
    Case("V10", "nothing at all", junk(b"", 204), Expect(status=204, body=b"", outcome="spent", proofs=1, counted=CENT)),
    Case("V10", "an error page with a receipt", junk(b"oops", 500), Expect(status=500, body=b"oops", outcome="spent", proofs=1, counted=CENT), times=2),
]  # fmt: skip

CASES = [*SIZE, *TIME, *LIES]
