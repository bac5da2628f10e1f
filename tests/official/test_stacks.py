"""PyPI's x402-stacks sells in front of our facilitator, in both of its versions, and our client pays it. Its client is not judged: it
signs what no node takes (Deny without a post-condition, a fee below the size)."""

from __future__ import annotations

import pytest

from x402_agent import Payer
from x402_agent.chains.stacks import fate

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def sold(official):
    with Payer.sandbox(chain="stacks", serve=True) as payer, official("server_stacks.py", payer.box.facilitator_url, payer.box.pay_to) as origin:
        yield payer, origin


@pytest.mark.proves("stacks", "exact", "judge", by="PyPI x402-stacks")
@pytest.mark.proves("stacks", "v1", "judge", by="PyPI x402-stacks")
@pytest.mark.parametrize("path", ["/v2/usdcx", "/v1/usdcx"])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_seller_of_pypi_is_paid_once(sold, path, library):
    payer, origin = sold
    before = len(payer.box.settlements)
    with payer.client(library=library) as http:
        reply = http.get(origin + path)
    assert reply.status_code == 200 and reply.json() == {"goods": True}
    paid = reply.extensions["payment"]
    (row,) = payer.box.settlements[before:]
    assert (paid.outcome, paid.differs, row.amount, paid.transaction) == ("spent", "", 5_000, row.tx)


def test_what_it_was_paid_is_found_on_the_chain(sold, monkeypatch):
    payer, origin = sold
    monkeypatch.setattr(fate, "FINAL", 0)
    with payer.client() as http:
        payment = http.get(f"{origin}/v2/usdcx").extensions["payment"].payment_id
    payer.ledger.flush()
    payer.resume(payment)
    assert payer.ledger.payment(payment).outcome == "spent"


def test_its_refusal_is_no_reason_to_pay_again(sold):
    payer, origin = sold
    box = payer.box
    before = len(box.settlements), box.balance(box.pay_to)
    box.ground.chain.automatic = False  # the seller waits, then says 402 of what is under way
    try:
        with payer.client() as http:
            replies = [http.get(f"{origin}/v2/usdcx", extensions={"payment": {"key": "stuck"}}) for _ in range(2)]
        assert {each.status_code for each in replies} == {402} and len({each.extensions["payment"].payment_id for each in replies}) == 1
        assert (len(box.settlements), box.balance(box.pay_to)) == before
    finally:
        box.ground.chain.automatic = True
        box.ground.chain.mine()
    with payer.client() as http:
        assert http.get(f"{origin}/v2/usdcx", extensions={"payment": {"key": "stuck"}}).status_code == 200
    assert box.balance(box.pay_to) == before[1] + 5_000
