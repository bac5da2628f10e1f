"""The payment-identifier extension: the same id with the same payload is answered from memory."""

from __future__ import annotations

import httpx2
import pytest


def receipt_of(answer, tools):
    name = "payment-response" if "payment-response" in answer.headers else "x-payment-response"
    return tools.decode(answer.headers[name])


def with_identifier(tools, asked, identifier):
    found = tools.decode(asked.headers["payment-required"])["extensions"]
    found["payment-identifier"]["info"]["id"] = identifier
    return found


@pytest.mark.parametrize("path", ["/order", "/order-required"])
def test_the_same_identifier_and_payload_is_answered_from_memory(shop, buyer, tools, path):
    asked = shop.get(path)
    headers = buyer.header(asked, extensions=with_identifier(tools, asked, "order-0123456789ab"))
    first, second = shop.get(path, headers=headers), shop.get(path, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["payment-response"] == second.headers["payment-response"]
    assert first.content == second.content
    assert len(shop.box.settlements) == 1


def test_the_same_identifier_with_another_payload_is_a_conflict(shop, buyer, tools):
    asked = shop.get("/order")
    extensions = with_identifier(tools, asked, "order-0123456789ab")
    assert shop.get("/order", headers=buyer.header(asked, extensions=extensions)).status_code == 200
    assert shop.get("/order", headers=buyer.header(asked, extensions=extensions)).status_code == 409
    assert len(shop.box.settlements) == 1


def test_a_required_identifier_that_is_missing_is_a_bad_request(shop, buyer):
    answer = shop.get("/order-required", headers=buyer.header(shop.get("/order-required")))
    assert answer.status_code == 400
    assert shop.box.settlements == []


def test_an_identifier_that_is_too_short_is_a_bad_request(shop, buyer, tools):
    asked = shop.get("/order")
    assert (
        shop.get("/order", headers=buyer.header(asked, extensions=with_identifier(tools, asked, "x"))).status_code
        == 400
    )


@pytest.mark.parametrize(
    "sent", [{"other": {}}, {"payment-identifier": {"info": {"required": True}}}, {"payment-identifier": 1}]
)
def test_extensions_that_do_not_echo_are_refused(shop, buyer, tools, sent):
    answer = shop.get("/order", headers=buyer.header(shop.get("/order"), extensions=sent))
    assert answer.status_code == 402
    assert receipt_of(answer, tools)["errorReason"] == "extension_echo_mismatch"


@pytest.mark.parametrize("sent", [{}, None])
def test_extensions_may_be_left_out(shop, buyer, sent):
    assert shop.get("/order", headers=buyer.header(shop.get("/order"), extensions=sent)).status_code == 200


def test_an_answer_that_was_lost_is_not_remembered(shop, buyer, tools):
    shop.box.scenario = "answer_lost"
    asked = shop.get("/order")
    headers = buyer.header(asked, extensions=with_identifier(tools, asked, "order-0123456789ab"))
    with pytest.raises(httpx2.RemoteProtocolError):
        shop.get("/order", headers=headers)
    assert shop.get("/order", headers=headers).status_code == 200
    assert len(shop.box.settlements) == 1
