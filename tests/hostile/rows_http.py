"""Rows L, O and W of docs/safety.md: loops, redirects and origins, parsing and dialects."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx

import tls
from hostile.arena import AGAIN_402, CENT, PAYS, UNTOUCHED, Arena, Case, Expect, refused
from hostile.rows_money import REAL_USDC, text, then_402, v2, value_is
from loopback import Hit, Seller
from x402_agent import ChallengeInvalid, NoAcceptableOffer, PaymentError, PaymentInDoubt, PolicyDenied

Scene = Callable[[Arena], str]
IN_DOUBT = Expect(error=PaymentInDoubt, rule="stays counted", proofs=1, counted=CENT)
DELIVERED = Expect(body=None, outcome="spent", proofs=1, counted=CENT)
TAKEN = Expect(body=b"taken", proofs=1, counted=CENT)  # the receipt is in the history of the answer
LIBRARY = refused(httpx.TransportError)


def says(words: str, status: int = 402, **headers: str) -> Scene:
    """Any proof is answered like this."""
    return lambda a: a.seller.sells("/paid", a.seller.ask("/paid", body=words.encode(), **headers) if status == 402 else a.seller.answer(status, words.encode(), **headers))  # fmt: skip


def pages(arena: Arena) -> str:
    """Each page wants a proof of its own, and leads to the next."""
    seller, taken = arena.seller, {}

    def route(hit: Hit) -> bytes:
        page = int(hit.path[1:])
        nonce = seller.authorization(hit.proof)["nonce"] if hit.proof else ""
        if not nonce or taken.setdefault(nonce, page) != page:
            return seller.ask(hit.path)
        return seller.answer(302, location=f"/{page + 1}")

    for page in range(30):
        seller.serves(f"/{page}", route)
    return seller.url("/0")


def ladder(arena: Arena) -> str:
    def dearer(hit: Hit) -> bytes:
        return arena.seller.ask("/paid", CENT + 1000 * (len(arena.seller.hits) - 1))

    return arena.seller.serves("/paid", dearer)


def ring(arena: Arena) -> str:
    arena.seller.serves("/ring", arena.seller.answer(302, location="/ring"))
    return arena.seller.sells("/paid", arena.seller.answer(302, location="/ring"))


def shown_at_most(times: int) -> Callable[[Arena, Any], None]:
    def look(arena: Arena, _: Any) -> None:
        assert len(arena.seller.proofs) <= times

    return look


KEY = {"extensions": {"payment": {"key": "tool-call-7"}}}
LOOPS = [
    Case("L1", "402 for ever", then_402(), AGAIN_402, times=3),
    Case("L2", "a ladder", ladder, AGAIN_402, times=3, then=lambda a, r: value_is(int(a.proofs[0]["value"]))(a, r)),
    Case("L3", "send the rest", says('{"error": "partial payment received, send the rest"}'), AGAIN_402, times=3),
    Case("L4", "sign again", says('{"error": "invalid signature, nonce used, expired: sign again"}'), AGAIN_402, times=3),
    Case("L5", "402 and success", lambda a: says("{}", payment_response=Seller.receipt())(a), AGAIN_402, times=3),
    Case("L6", "now in v2", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ask("/paid") if hit.proof else a.seller.ask_v1("/paid")), AGAIN_402, times=3),
    *[Case("L7", f"{status} and try again", says("busy", status, retry_after="0"), Expect(status=status, body=b"busy", outcome="in_doubt", proofs=1, counted=CENT), then=shown_at_most(3)) for status in (429, 503)],
    Case("L8", "each page leads to a paywall", pages, Expect(error=PolicyDenied, rule="L8", proofs=1, counted=CENT)),
    Case("L9", "a ring of redirects", ring, Expect(error=httpx.TooManyRedirects, proofs=1, counted=CENT)),
    Case("L10", "the content says pay again", says('{"status": "not final", "action": "pay again, then retry"}', 200), DELIVERED),
    Case("L11", "a tool call repeated", lambda a: a.seller.sells("/paid"), PAYS, times=3, request=KEY),
]  # fmt: skip


# -- redirects and origins --------------------------------------------------------------------------------------------


def unseen(arena: Arena, _: Any) -> None:
    """The other seller was shown no proof, no cookie and no authorization."""
    assert arena.seller.proofs
    for each in [*arena.other.hits, *[hit for more in arena.extra for hit in more.hits if not more.tls]]:
        assert not each.proof and "cookie" not in each.headers and "authorization" not in each.headers


def moved(status: int, where: Callable[[Arena], str]) -> Scene:
    """The answer to a proof leads elsewhere."""

    def scene(arena: Arena) -> str:
        arena.other.serves("/take", arena.other.answer(200, b"taken"))
        return arena.seller.sells("/paid", arena.seller.answer(status, location=where(arena)))

    return scene


def v1_moved(arena: Arena) -> str:
    arena.other.serves("/take", arena.other.answer(200, b"taken"))
    gone = arena.seller.answer(307, location=arena.other.url("/take"))
    return arena.seller.serves("/paid", lambda hit: gone if hit.proof else arena.seller.ask_v1("/paid"))


def secure(arena: Arena) -> Seller:
    server, client = tls.pair(arena.folder)
    arena.client_options["verify"] = client
    return arena.add(Seller(server))


def downgrade(arena: Arena) -> str:
    """https, paid; its answer leads to plain http, which asks for money again."""
    shop = secure(arena)
    arena.other.sells("/take")
    return shop.sells("/paid", shop.answer(302, location=arena.other.url("/take")))


def downgrade_first(arena: Arena) -> str:
    """https leads to plain http before any payment, and real money is asked for there."""
    shop = secure(arena)
    real = {"network": "eip155:8453", "asset": REAL_USDC}
    arena.other.demands("/take", arena.other.terms("/take", **real))
    return shop.serves("/free", shop.answer(302, location=arena.other.url("/take")))


def beyond(arena: Arena) -> str:
    """A shop over plain http whose name, today, resolves to this machine."""
    arena.client_options["transport"] = Elsewhere(arena)
    return "http://shop.example/paid"


class Elsewhere(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A resolver that sends every name to the hostile seller."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def _answer(self, request: httpx.Request) -> httpx.Response:
        packed = self.arena.seller.packed(self.arena.seller.terms("/paid"))
        proof = request.headers.get("payment-signature", "")
        self.arena.seller.hits.append(Hit(request.method, "/paid", dict(request.headers), b"", socket.socket()))
        self.arena.seller.hits[-1].conn.close()
        return httpx.Response(200 if proof else 402, headers={"payment-required": packed})

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def away_first(arena: Arena) -> str:
    arena.other.sells("/paid")
    return arena.seller.serves("/free", arena.seller.answer(307, location=arena.other.url("/paid")))


def only_the_first(arena: Arena) -> str:
    """Policy allows the seller that was asked, not the one that it leads to."""
    return away_first(arena)


def proxied(arena: Arena) -> str:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        arena.setenv(name, arena.other.origin)
    arena.other.serves("/paid", arena.other.answer(200, b"seen"))
    return arena.seller.sells("/paid")


def cookies(arena: Arena) -> str:
    arena.other.serves("/take", arena.other.answer(200, b"taken"))
    where = f"http://localhost:{arena.other.port}/take"
    asked = arena.seller.ask("/paid", set_cookie="session=secret; Path=/")
    gone = arena.seller.answer(302, location=where)

    def route(hit: Hit) -> bytes:
        if hit.proof:
            assert "session=secret" in hit.headers["cookie"]
            return gone
        return asked

    return arena.seller.serves("/paid", route)


def no_store(arena: Arena, _: Any) -> None:
    assert [hit.headers.get("cache-control") for hit in arena.seller.hits if hit.proof] == ["no-store"]


def nobody_else(arena: Arena, _: Any) -> None:
    assert arena.other.hits == []


NOT_HTTP = Expect(error=(httpx.UnsupportedProtocol, httpx.RemoteProtocolError, httpx.InvalidURL), proofs=1, counted=CENT)
SECRET = {"headers": {"authorization": "Bearer secret"}}
ORIGINS = [
    *[Case("O1", f"{status} to another host", moved(status, lambda a: f"http://localhost:{a.other.port}/take"), TAKEN, then=unseen, request=SECRET) for status in (301, 302, 303, 307, 308)],
    Case("O2", "another port", moved(302, lambda a: a.other.url("/take")), TAKEN, then=unseen, request=SECRET),
    Case("O2", "no scheme", moved(302, lambda a: f"//127.0.0.1:{a.other.port}/take"), TAKEN, then=unseen),
    Case("O2", "v1", v1_moved, TAKEN, then=unseen),
    Case("O3", "from https down after payment", downgrade, Expect(error=PolicyDenied, rule="L8", proofs=1, counted=CENT)),
    Case("O3", "from https down before payment", downgrade_first, refused(PolicyDenied, "loopback"), policy={"networks": ("mainnet",)}),
    Case("O3", "plain http beyond this machine", beyond, refused(PolicyDenied, "O3")),
    *[Case("O4", where.partition(":")[0], moved(302, lambda a, where=where: where), NOT_HTTP) for where in ("file:///etc/passwd", "data:,x", "gopher://127.0.0.1/")],
    Case("O5", "location and refresh on the 402", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.ask("/paid", location=a.other.url("/x"), refresh=f"0; url={a.other.url('/x')}")), PAYS, then=nobody_else),
    Case("O6", "an unpaid redirect to another shop", only_the_first, refused(PolicyDenied, "allow"), policy={"allow": ("FIRST",)}),
    Case("O6", "an unpaid redirect to a shop on the list", away_first, PAYS, policy={"allow": ("OTHER",)}),
    Case("O8", "a good name as user", lambda a: v2()(a).replace("//", "//good.example@"), refused(PolicyDenied, "allow"), policy={"allow": ("good.example",)}),
    Case("O8", "a denied name with a dot behind", lambda a: beyond(a).replace("shop.example", "localhost."), refused(PolicyDenied, "deny"), policy={"deny": ("localhost",)}),
    Case("O9", "a proxy in the environment", proxied, PAYS, then=nobody_else),
    Case("O10", "cookies and authorization", cookies, TAKEN, then=unseen, request=SECRET),
    Case("O11", "the paid answer is not to be stored", v2(), PAYS, then=no_store),
]  # fmt: skip


# -- parsing ----------------------------------------------------------------------------------------------------------


def header(made: Callable[[str], str | bytes]) -> Scene:
    """The honest document as this makes it, in the header."""

    def scene(arena: Arena) -> str:
        return arena.seller.demands("/paid", made(json.dumps(arena.seller.terms("/paid"))))

    return scene


def raw_header(value: str) -> Scene:
    return lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.answer(402, b"{}", payment_required=value))


def body(made: Callable[[str], bytes], **headers: str) -> Scene:
    """The honest v1 document as this makes it, in the body."""

    def scene(arena: Arena) -> str:
        asked = arena.seller.answer(402, made(json.dumps(arena.seller.terms_v1("/paid"))), **headers)
        return arena.seller.serves("/paid", lambda hit: arena.seller.ok() if hit.proof else asked)

    return scene


def bytes_(*pieces: bytes) -> Scene:
    """Raw bytes as the first answer, then the connection ends."""
    return lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else iter(pieces))


def top(**changes: Any) -> Scene:
    """The outer document with these members changed."""

    def scene(arena: Arena) -> str:
        document = {**arena.seller.terms("/paid"), **changes}
        return arena.seller.demands("/paid", json.dumps({k: v for k, v in document.items() if v is not ...}))

    return scene


def junk_and_good(arena: Arena) -> str:
    document = arena.seller.terms("/paid")
    document["accepts"] = [None, 7, "x", [], {}, {"scheme": []}, *document["accepts"]]
    return arena.seller.demands("/paid", document)


def v2_in_body(arena: Arena) -> str:
    asked = arena.seller.answer(402, json.dumps(arena.seller.terms("/paid")).encode())
    return arena.seller.serves("/paid", lambda hit: arena.seller.ok() if hit.proof else asked)


def two_headers(arena: Arena) -> str:
    one = arena.seller.packed(arena.seller.terms("/paid"))
    two = arena.seller.packed(arena.seller.terms("/paid", 1))
    raw = f"HTTP/1.1 402 X\r\npayment-required: {one}\r\npayment-required: {two}\r\ncontent-length: 0\r\n\r\n"
    return bytes_(raw.encode())(arena)


def split(arena: Arena) -> str:
    """A second, dearer 402 lies behind the first, before the proof was even sent."""

    def route(hit: Hit) -> bytes:
        if hit.proof:
            return arena.seller.ok()
        return arena.seller.ask("/paid") + arena.seller.ask("/paid", 90_000)

    return arena.seller.serves("/paid", route)


def ten_thousand_at_most(arena: Arena, _: Any) -> None:
    assert {each["value"] for each in arena.proofs} <= {str(CENT)}


def escapes(arena: Arena) -> str:
    words = "\x1b[2J\r\nPAID\u202e\u2066 free \x07"
    document = arena.seller.terms("/paid", 900_000)
    document["resource"] = {"url": arena.seller.url("/paid"), "description": words}
    return arena.seller.demands("/paid", {**document, "error": words})


def escaped_field(arena: Arena) -> str:
    return v2(network="\x1b[31mbase\r\n\u202e")(arena)


def elsewhere(status: int) -> Scene:
    return lambda a: a.seller.serves("/paid", a.seller.answer(status, json.dumps(a.seller.terms_v1("/paid")).encode(), payment_required=a.seller.packed(a.seller.terms("/paid"))))


def odd_case(arena: Arena) -> str:
    value = arena.seller.packed(arena.seller.terms("/paid"))
    return bytes_(f"HTTP/1.1 402 X\r\nPaYmEnT-rEqUiReD: {value}\r\ncontent-length: 0\r\n\r\n".encode())(arena)


def folded(arena: Arena) -> str:
    value = arena.seller.packed(arena.seller.terms("/paid"))
    return bytes_(f"HTTP/1.1 402 X\r\npayment-required: {value[:40]}\r\n {value[40:]}\r\ncontent-length: 0\r\n\r\n".encode())(arena)


def short_echo(arena: Arena, _: Any) -> None:
    assert all(len(proof) < 30_000 for proof in arena.seller.proofs)


L402 = {"www_authenticate": 'L402 macaroon="AGIAJEem", invoice="lnbc1"'}
KAMIYO = {"error": "payment required", "address": "0x" + "ab" * 20, "amount": "0.01", "chain": "base", "token": "USDC"}
BROKEN = refused(ChallengeInvalid)
PARSING = [
    Case("W1", "no base64", raw_header("%%%not base64%%%"), refused(ChallengeInvalid, "W1")),
    Case("W1", "no JSON", header(lambda t: "not json"), refused(ChallengeInvalid, "W1")),
    Case("W1", "no UTF-8", header(lambda t: t.encode() + b"\xff\xfe"), refused(ChallengeInvalid, "W1")),
    Case("W1", "UTF-16", header(lambda t: t.encode("utf-16")), refused(ChallengeInvalid, "W1")),
    Case("W1", "a byte order mark", header(lambda t: b"\xef\xbb\xbf" + t.encode()), refused(ChallengeInvalid, "W1")),
    Case("W1", "UTF-16 in the body", body(lambda t: t.encode("utf-16")), refused(ChallengeInvalid, "W1")),
    Case("W1", "junk in the body", body(lambda t: b"\xff\x00junk"), UNTOUCHED),
    *[Case("W2", f"{word}", text(lambda t, word=word: t.replace("60", word)), refused(ChallengeInvalid, "W2")) for word in ("NaN", "Infinity", "-Infinity", "1e999")],
    *[Case("W3", what, body(lambda t, made=made: made), UNTOUCHED) for what, made in {"empty": b"", "HTML": b"<html>pay us</html>", "an array": b"[1, 2]", "a text": b'"x402Version"'}.items()],
    *[Case("W4", f"accepts {n}", top(accepts=made), refused(ChallengeInvalid)) for n, made in enumerate([[], None, {}, "x", [None, 7, "x", [], {}], ...])],
    Case("W4", "a good one among junk", junk_and_good, PAYS),
    *[Case("W5", f"version {n}", top(x402Version=made), refused(ChallengeInvalid, "W5")) for n, made in enumerate([99, "2", None, 2.0, True, ...])],
    Case("W6", "v1 in the header", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.answer(402, b"", payment_required=a.seller.packed(a.seller.terms_v1("/paid")))), PAYS),
    Case("W6", "v2 in the body", v2_in_body, PAYS),
    Case("W6", "both", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.ask("/paid", body=json.dumps(a.seller.terms_v1("/paid", 20_000)).encode())), PAYS),
    Case("W6", "v1 fields under version 2", v2(amount=..., maxAmountRequired="10000", payTo="0x" + "ab" * 20), BROKEN),
    Case("W7", "two headers", two_headers, refused(ChallengeInvalid, "W7")),
    Case("W8", "a Lightning invoice beside it", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok() if hit.proof else a.seller.ask("/paid", **L402)), PAYS),
    Case("W8", "a Lightning invoice alone", lambda a: a.seller.serves("/paid", a.seller.answer(402, b"pay the invoice", **L402)), UNTOUCHED),
    Case("W9", "send it on chain", lambda a: a.seller.serves("/paid", a.seller.answer(402, json.dumps(KAMIYO).encode())), UNTOUCHED),
    Case("W10", "a body cut off", bytes_(b'HTTP/1.1 402 X\r\ncontent-length: 900\r\n\r\n{"x402Version": 1,'), refused((httpx.TransportError, PaymentError))),
    Case("W10", "a broken chunk", bytes_(b"HTTP/1.1 402 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}"), LIBRARY),
    Case("W10", "two lengths", bytes_(b"HTTP/1.1 402 X\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"), LIBRARY),
    Case("W10", "length and chunks", bytes_(b"HTTP/1.1 402 X\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), Expect(error=None, status=402, body=None)),
    Case("W10", "not HTTP", bytes_(b"SSH-2.0-OpenSSH_9.9\r\n"), LIBRARY),
    Case("W10", "garbage after payment", lambda a: a.seller.sells("/paid", lambda hit: iter([b"\x00\x16\x03garbage\r\n\r\n"])), IN_DOUBT),
    Case("W11", "a second 402 behind the first", split, PAYS, then=ten_thousand_at_most),
    Case("W12", "escapes in the description", escapes, refused(PaymentError, "per_call")),
    Case("W12", "escapes in a field", escaped_field, refused(PaymentError, "A5")),
    *[Case("W13", f"an offer in a {status}", elsewhere(status), Expect(status=status, body=None)) for status in (200, 401, 403, 404, 500)],
    Case("W14", "unknown fields", top(junk={"a": [1] * 100}, more=None), PAYS),
    Case("W14", "a large extension", top(extensions={"junk": {"info": {"a": "x" * 20_000}}}), PAYS, then=short_echo),
    Case("W15", "an extension we lack", top(extensions={"kyc": {"required": True}}), refused(ChallengeInvalid, "W15")),
    Case("W16", "odd case", odd_case, PAYS),
    Case("W16", "a folded line", folded, refused((httpx.RemoteProtocolError, ChallengeInvalid))),
    Case("W17", "half a character", text(lambda t: t.replace('"USDC"', '"\\ud800"')), refused(ChallengeInvalid, "W17")),
    Case("W17", "NUL", text(lambda t: t.replace('"USDC"', '"a\\u0000b"')), refused(ChallengeInvalid, "W17")),
]  # fmt: skip

OFF_CHAIN = 'L402 macaroon="AGIAJEem", invoice="lnbc20m1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf", amount="1"'
NAMED = {"x_payment_chain": "base", "x_payment_tx": "0x" + "12" * 32}


def no_chain_of_theirs(arena: Arena, _: Any) -> None:
    """What is shown names no chain and no transaction beside the challenge's own, which the signature binds."""
    assert not any(name.startswith("x-payment-") for hit in arena.seller.hits for name in hit.headers)


LATER = [  # what no dialect here pays yet is not paid in part, by mistake or beside x402
    Case("K5", "an invoice over more than the page says", lambda a: a.seller.serves("/paid", a.seller.answer(402, b'{"price":"1 sat"}', www_authenticate=OFF_CHAIN)), UNTOUCHED, times=2),
    Case("K7", "a voucher with a lower total", v2(scheme="batch-settlement", extra={"name": "USDC", "version": "2", "voucher": {"total": "5"}}), refused(NoAcceptableOffer, "A7")),
    Case("K9", "a transfer to be shown by its hash", lambda a: a.seller.serves("/paid", a.seller.answer(402, json.dumps({**KAMIYO, "tx": "0x" + "12" * 32}).encode())), UNTOUCHED, times=2),
    Case("K9", "this proof was used before", lambda a: a.seller.serves("/paid", lambda hit: a.seller.answer(402, b'{"error":"transaction already used"}') if hit.proof else a.seller.ask("/paid")), AGAIN_402, times=2),
    Case("K10", "another chain in a header", lambda a: a.seller.serves("/paid", lambda hit: a.seller.ok(**NAMED) if hit.proof else a.seller.ask("/paid", **NAMED)), PAYS, then=no_chain_of_theirs),
]  # fmt: skip

CASES = [*LOOPS, *ORIGINS, *PARSING, *LATER]

