"""Who gives up at any moment, by each kind of cancellation, has lost nothing that was paid: the next call gets it, for one payment."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import anyio.lowlevel
import httpx
import pytest

from giving_up import KINDS, MOST, given_up
from x402_agent import Payer, PaymentInDoubt, Policy, Wallet

PATIENT = Policy(networks=("testnet",), stop_after=0, day=None)


@pytest.fixture(params=KINDS)
def gives_up(request):
    return partial(given_up, request.param)


async def hook(_response):
    """A caller's own, who looks at each answer before its body."""
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("hooked", [False, True], ids=["", "hooked"])
def test_T13_who_gives_up_at_any_moment_gets_what_was_paid_with_the_next_call(gives_up, hooked, library, seller, till):
    payer, url = till.payer(policy=PATIENT), seller.sells("/paid")

    async def get(http, key):
        reply = await http.get(f"{url}?of={key}")
        assert (reply.status_code, reply.content) == (200, b"paid content")

    many = gives_up(lambda: payer.async_client(library=library, event_hooks={"response": [hook] * hooked}), get)
    assert many > 5 and len(seller.nonces) == many + 1
    assert {state for state, _ in till.rows(payer)} <= {"CLAIMED", "RELEASED"}


class Interrupts(httpx.HTTPTransport):
    """Ctrl-C, once, while the first good answer is closed."""

    pending = True

    def handle_request(self, request):
        reply = super().handle_request(request)
        if reply.status_code == 200 and self.pending:
            self.pending, close = False, reply.stream.close

            def interrupted():
                close()
                raise KeyboardInterrupt

            reply.stream.close = interrupted
        return reply


def test_T13_ctrl_c_while_an_answer_is_closed_leaves_it_to_the_next_call(seller, payer):
    url = seller.sells("/paid")
    with payer.client(transport=Interrupts()) as http:
        with pytest.raises(KeyboardInterrupt):
            http.get(url)
        assert http.get(url).content == b"paid content"
    assert len(seller.nonces) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # trio: the library's own generators
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
def test_T13_who_is_cancelled_between_two_pieces_of_a_stream_gets_it_with_the_next_call(gives_up, seller, till):
    payer, url = till.payer(policy=PATIENT), seller.sells("/paid", lambda hit: iter([b"HTTP/1.1 200 X\r\ncontent-length: 12\r\n\r\n", b"paid ", b"content"]))

    async def read(http, key):
        async with http.stream("GET", f"{url}?of={key}") as reply:
            async for _ in reply.aiter_raw():
                await anyio.lowlevel.checkpoint()

    many = gives_up(payer.async_client, read)
    assert many > 5 and len(seller.nonces) == many + 1


def handled(http, url):
    """Left early, while something else is handled."""
    try:
        raise LookupError
    except LookupError:
        with http.stream("GET", url) as reply:
            assert reply.status_code == 200


def left(http, url):
    """By a generator that nobody goes on with."""

    def headers():
        with http.stream("GET", url) as reply:
            yield reply.status_code

    assert next(headers()) == 200


@pytest.mark.parametrize("leaves", [handled, left])
def test_who_leaves_a_stream_by_himself_has_had_it(leaves, library, seller, till, payer):
    url = seller.sells("/paid")
    with payer.client(library=library) as http:
        leaves(http, url)
    assert till.rows(payer) == [("CLAIMED", "spent")]


def test_T13_a_hook_that_raises_leaves_an_answer_to_the_next_call(library, seller, payer):
    url, raised = seller.sells("/paid"), []

    def once(reply):
        if not raised:
            raised.append(reply.status_code)
            raise RuntimeError

    with payer.client(library=library, event_hooks={"response": [once]}) as http:
        with pytest.raises(RuntimeError):
            http.get(url)
        assert http.get(url).content == b"paid content"
    assert raised == [200] and len(seller.nonces) == 1


def test_T13_who_gives_up_at_any_moment_gets_goods_that_wait_with_the_next_call(gives_up, seller, till):
    payer, mended, keys = till.payer(policy=PATIENT), [], range(1, 8)
    payer.wallet = Wallet.from_key("0x" + "5a" * 32)
    url = seller.sells("/paid", lambda hit: seller.ok() if mended else hit.reset())
    with payer.client() as http:
        for key in keys:
            with pytest.raises(PaymentInDoubt):
                http.get(f"{url}?of={key}")
    mended.append(True)
    assert [each.after for each in payer.resume()] == ["CLAIMED"] * len(keys)

    async def get(http, key):
        assert (await http.get(f"{url}?of={key}")).content == b"paid content"

    many = gives_up(payer.async_client, get)
    assert 0 < many < len(keys) and len(seller.nonces) == len(keys)


def stocked(catalogue):
    """As many articles as calls may be made."""
    model = catalogue.find("paying-by-transfer")
    for number in range(MOST):
        catalogue.put(f"piece-{number}", model.owner, {"stx": "0.10"}, model.about, "published")


@pytest.mark.full
@pytest.mark.parametrize(("chain", "shop", "path"), [("stacks", "x402pay", "/articles/piece-{}"), ("solana", "lily", "/joke?of={}")])
def test_T13_who_gives_up_at_any_moment_gets_what_was_paid_on_a_chain_with_the_next_call(gives_up, chain, shop, path):
    with Payer.sandbox(chain=chain, seller=shop, serve=True) as payer:
        payer.policy, box = replace(payer.policy, stop_after=0), payer.sandbox
        if shop == "x402pay":
            stocked(box.seller.catalogue)

        made = set()

        async def get(http, key):
            if key not in made:
                made.add(key)
                box.ground.warp(61)  # it answers about ten payments a minute
            assert (await http.get(box.url(path.format(key)))).status_code == 200

        many = gives_up(lambda: payer.async_client(timeout=30), get)
        left = [each for each in payer.ledger.payments() if each.state not in ("RELEASED", "DEAD")]
        assert many > 20 and len(left) == many + 1
