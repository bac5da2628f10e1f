"""Every route of the shop at both doors: what it asks, what a proof gets, what moved."""

from __future__ import annotations

import hashlib
import json

import pytest

from x402_agent.dialects import builtin
from x402_agent.model import Ask
from x402_agent.sandbox import Route
from x402_agent.sandbox.challenge import requirements
from x402_agent.sandbox.evm_ground import EvmGround
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.seller import Visits
from x402_agent.steps import Reply

ROUTES = EvmGround.routes
OK = [each for each in ROUTES.values() if each.price and not each.path.endswith("-500")]


def receipt_of(answer, tools):
    name = "payment-response" if "payment-response" in answer.headers else "x-payment-response"
    return tools.decode(answer.headers[name])


@pytest.mark.proves("evm", "exact", "seller")
@pytest.mark.parametrize(
    "route", [each for each in OK if each.path not in ("/choice", "/order-required")], ids=lambda r: r.path
)
def test_a_proof_opens_every_door_and_moves_the_price_once(shop, buy, tools, route):
    method = route.methods[0] if route.methods else "GET"
    asked, paid, _ = buy(shop, route.path, method)
    assert asked.headers["cache-control"] == "no-store"
    assert paid.status_code == 200, paid.text
    assert "private" in paid.headers["cache-control"]
    found = receipt_of(paid, tools)
    assert found["success"] is True
    assert found["payer"] == shop.box.payer_address
    assert found["network"] == ("base-sepolia" if route.wire == "v1" else "eip155:84532")
    moved = [(row.tx, row.amount) for row in shop.box.settlements]
    assert moved == ([(found["transaction"], route.cost)] if route.cost else [])
    assert found.get("amount") == (str(route.cost) if "upto" in route.ways else None)
    assert "settlement-overrides" not in paid.headers
    assert shop.box.balance(shop.box.pay_to) == route.cost


@pytest.mark.parametrize(
    "route", [each for each in ROUTES.values() if each.price and "eip3009" in each.ways], ids=lambda r: r.path
)
def test_our_own_dialect_reads_every_challenge(shop, route):
    url = shop.box.url(route.path)
    answer = shop.request(route.methods[0] if route.methods else "GET", route.path)
    reply = Reply(answer.status_code, answer.headers, response=answer)
    reply.raw, reply.complete = answer.content, True
    ask = Ask("GET", url, shop.box.origin, "sandbox", route.path)
    (found,) = (each for dialect in builtin() if (each := dialect.read(reply, ask)) is not None)
    assert route.price in {each.amount for each in found.offers}
    assert {each.flow for each in found.offers} == {route.flow}
    assert {each.pay_to for each in found.offers} == {shop.box.pay_to}


def test_where_each_dialect_puts_its_challenge(shop, tools):
    v2, v1, body, both = (shop.get(path) for path in ("/joke", "/v1/joke", "/v2-body/joke", "/both"))
    assert tools.decode(v2.headers["payment-required"])["x402Version"] == 2
    assert v2.json() == {}
    assert "payment-required" not in v1.headers
    assert v1.json()["x402Version"] == 1
    assert "payment-required" not in body.headers
    assert body.json()["x402Version"] == 2
    assert tools.decode(both.headers["payment-required"])["x402Version"] == 2
    assert both.json()["x402Version"] == 1


def test_a_v2_challenge_word_for_word(shop, tools):
    found = tools.decode(shop.get("/joke").headers["payment-required"])
    assert found == {
        "x402Version": 2,
        "error": "payment required",
        "resource": {"url": shop.box.url("/joke"), "description": "a joke", "mimeType": "application/json"},
        "accepts": [
            {
                "scheme": "exact",
                "network": "eip155:84532",
                "amount": "10000",
                "asset": tools.usdc,
                "payTo": shop.box.pay_to,
                "maxTimeoutSeconds": 60,
                "extra": {"name": "USDC", "version": "2"},
            }
        ],
    }


def test_a_v1_challenge_word_for_word(shop, tools):
    assert shop.get("/v1/joke").json() == {
        "x402Version": 1,
        "error": "payment required",
        "accepts": [
            {
                "scheme": "exact",
                "network": "base-sepolia",
                "maxAmountRequired": "10000",
                "resource": shop.box.url("/v1/joke"),
                "description": "a joke, x402 v1",
                "mimeType": "application/json",
                "outputSchema": None,
                "payTo": shop.box.pay_to,
                "maxTimeoutSeconds": 60,
                "asset": tools.usdc,
                "extra": {"name": "USDC", "version": "2"},
            }
        ],
    }


def test_both_takes_either_proof(shop, buyer, tools):
    asked = shop.get("/both")
    entry = asked.json()["accepts"][0]
    inner = buyer.payload(value=entry["maxAmountRequired"])
    sent = {"x402Version": 1, "scheme": "exact", "network": entry["network"], "payload": inner}
    paid = shop.get("/both", headers={"X-PAYMENT": tools.encode(sent)})
    assert (paid.status_code, tools.decode(paid.headers["x-payment-response"])["success"]) == (200, True)
    paid = shop.get("/both", headers=buyer.header(asked))
    assert (paid.status_code, tools.decode(paid.headers["payment-response"])["success"]) == (200, True)


def test_a_permit2_and_an_upto_offer_word_for_word(shop, tools):
    (permit2,), (upto,), either = (
        tools.decode(shop.get(path).headers["payment-required"])["accepts"] for path in ("/permit2", "/upto", "/either")
    )
    common = {"network": "eip155:84532", "asset": tools.usdc, "payTo": shop.box.pay_to, "maxTimeoutSeconds": 60}
    extra = {"name": "USDC", "version": "2", "assetTransferMethod": "permit2"}
    assert permit2 == {"scheme": "exact", "amount": "10000", "extra": extra} | common
    extra = extra | {"facilitatorAddress": shop.box.facilitator_address}
    assert upto == {"scheme": "upto", "amount": "50000", "extra": extra} | common
    assert [each["extra"].get("assetTransferMethod") for each in either] == [None, "permit2"]


@pytest.mark.proves("evm", "permit2", "seller")
@pytest.mark.parametrize("index", [0, 1])
def test_either_way_is_taken_and_only_as_accepted(shop, buyer, buy, tools, index):
    asked, paid, _ = buy(shop, "/either", index=index)
    assert paid.status_code == 200
    assert shop.box.ground.allowance == 1_000_000_000 - 10_000 * index
    entry = tools.decode(asked.headers["payment-required"])["accepts"][index]
    other = buyer.payload() if index else buyer.permit()
    sent = {"PAYMENT-SIGNATURE": tools.encode({"x402Version": 2, "accepted": entry, "payload": other})}
    answer = shop.get("/either", headers=sent)
    assert (answer.status_code, receipt_of(answer, tools)["errorReason"]) == (402, "invalid_payload")
    assert len(shop.box.settlements) == 1


@pytest.mark.proves("evm", "upto", "seller")
def test_an_upto_request_costs_what_the_handler_says(shop, buy, tools):
    for path, cost in (("/upto", 12_000), ("/upto-zero", 0), ("/upto", 12_000)):
        before = shop.box.balance(shop.box.payer_address)
        _, paid, headers = buy(shop, path)
        found = receipt_of(paid, tools)
        assert (found["success"], found["amount"], bool(found["transaction"])) == (True, str(cost), bool(cost))
        assert before - shop.box.balance(shop.box.payer_address) == cost
        again = shop.get(path, headers=headers)  # a zero settlement spends no nonce, so it may be shown again
        assert again.status_code == (402 if cost else 200)
    assert [row.amount for row in shop.box.settlements] == [12_000, 12_000]


def test_what_is_free_asks_for_nothing(shop):
    assert shop.get("/free").json() == {"free": True}
    assert {each["path"] for each in shop.get("/").json()["routes"]} == {"/", *ROUTES}
    assert shop.get("/nowhere").status_code == 404


def test_a_failing_handler_costs_nothing_in_the_authorization_flow(shop, buy):
    _, paid, _ = buy(shop, "/joke-500")
    assert paid.status_code == 500
    assert "payment-response" not in paid.headers
    assert shop.box.settlements == []


def test_upfront_charges_even_when_the_handler_fails(shop, buy, tools):
    _, paid, _ = buy(shop, "/upfront-500")
    assert paid.status_code == 500
    assert receipt_of(paid, tools)["success"] is True
    assert shop.box.balance(shop.box.pay_to) == 10000


def test_a_failed_escrow_pays_the_deposit_back(shop, buy, tools):
    _, paid, _ = buy(shop, "/escrow-500")
    assert paid.status_code == 500
    found = receipt_of(paid, tools)
    assert (found["success"], found["extra"]["depositAmount"]) == (False, "10000")
    deposit = shop.box.transaction(found["extra"]["depositTransaction"])
    refund = shop.box.transaction(found["extra"]["refundTransaction"])
    assert [each.to for each in deposit.transfers] == [shop.box.pay_to]
    assert [(each.sender, each.to) for each in refund.transfers] == [(shop.box.pay_to, shop.box.payer_address)]
    assert shop.box.balance(shop.box.payer_address) == 100_000_000


def test_a_proof_is_good_once(shop, buy, tools):
    _, paid, headers = buy(shop, "/joke")
    again = shop.get("/joke", headers=headers)
    assert (paid.status_code, again.status_code) == (200, 402)
    found = receipt_of(again, tools)
    assert (found["success"], found["errorReason"]) == (False, "invalid_exact_evm_nonce_already_used")
    assert tools.decode(again.headers["payment-required"])["error"] == "invalid_exact_evm_nonce_already_used"
    assert len(shop.box.settlements) == 1


def test_the_cheapest_of_several_offers_is_not_the_first_and_can_be_paid(shop, buy, tools):
    offers = tools.decode(shop.get("/choice").headers["payment-required"])["accepts"]
    amounts = [int(each["amount"]) for each in offers]
    assert amounts.index(min(amounts)) == 2
    assert len({each["network"] for each in offers}) > 1
    _, paid, _ = buy(shop, "/choice", index=2)
    assert paid.status_code == 200
    assert shop.box.balance(shop.box.pay_to) == 10000


def test_an_offer_on_a_chain_that_is_not_here_is_refused(shop, buy, tools):
    _, paid, _ = buy(shop, "/choice", index=0)
    assert paid.status_code == 402
    assert receipt_of(paid, tools)["errorReason"] == "invalid_network"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "1"},
        {"amount": 10000},
        {"payTo": "0x" + "12" * 20},
        {"maxTimeoutSeconds": 61},
        {"network": "eip155:8453"},
        {"scheme": "upto"},
        {"extra": {"name": "USDC"}},
        {"extra": None},
    ],
)
def test_accepted_must_equal_an_offer(shop, buyer, tools, change):
    asked = tools.decode(shop.get("/joke").headers["payment-required"])
    sent = {"x402Version": 2, "accepted": asked["accepts"][0] | change, "payload": buyer.payload()}
    answer = shop.get("/joke", headers={"PAYMENT-SIGNATURE": tools.encode(sent)})
    assert answer.status_code == 402
    assert receipt_of(answer, tools)["errorReason"] == "invalid_payment_requirements"
    assert shop.box.settlements == []


def test_accepted_may_say_more_in_extra(shop, buyer, tools):
    entry = tools.decode(shop.get("/joke").headers["payment-required"])["accepts"][0]
    sent = {"x402Version": 2, "accepted": entry | {"extra": entry["extra"] | {"note": 1}}, "payload": buyer.payload()}
    assert shop.get("/joke", headers={"PAYMENT-SIGNATURE": tools.encode(sent)}).status_code == 200


@pytest.mark.parametrize("header", ["garbage", "e30", "W10=", "bnVsbA=="])
def test_a_header_that_is_no_payment_is_asked_again(shop, tools, header):
    answer = shop.get("/joke", headers={"PAYMENT-SIGNATURE": header})
    assert answer.status_code == 402
    assert "payment-required" in answer.headers


def test_a_stream_arrives_in_parts(shop, buyer):
    headers = buyer.header(shop.get("/stream"))
    with shop.stream("GET", "/stream", headers=headers) as answer:
        parts = list(answer.iter_raw())
    assert len(parts) == 8
    assert b"".join(parts).count(b"data: part") == 8


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upload_arrives_whole(shop, buy, method):
    body = bytes(range(256)) * 4096
    _, paid, _ = buy(shop, "/upload", method, content=body)
    assert paid.json() == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "method": method}
    assert shop.get("/upload").status_code == 405


def test_head_has_no_body(shop):
    answer = shop.head("/free")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "path, change, code",
    [
        ("/joke", {"x402Version": 1}, "invalid_x402_version"),
        ("/joke", {"accepted": 5}, "invalid_payload"),
        ("/joke", {"accepted": None}, "invalid_payload"),
        ("/order", {"extensions": [1]}, "extension_echo_mismatch"),
        ("/v1/joke", {"x402Version": 2}, "invalid_x402_version"),
        ("/v1/joke", {"scheme": "upto"}, "invalid_payment_requirements"),
        ("/v1/joke", {"network": "base"}, "invalid_payment_requirements"),
    ],
)
def test_a_payload_that_answers_nothing_that_was_asked(shop, buyer, tools, path, change, code):
    ((name, value),) = buyer.header(shop.get(path)).items()
    answer = shop.get(path, headers={name: tools.encode(tools.decode(value) | change)})
    assert (answer.status_code, receipt_of(answer, tools)["errorReason"]) == (402, code)
    assert shop.box.settlements == []


def test_version_1_is_offered_what_it_knows(box):
    route = Route("/x", 5, ROUTES["/joke"].handler, "", wire="both", ways=("permit2", "eip3009", "upto"))
    one, two = (requirements(route, Request("GET", "http://x", "/x"), version, box.ground, 1) for version in (1, 2))
    assert [each["extra"].get("assetTransferMethod") for each in one] == [None]
    assert [(each["scheme"], "facilitatorAddress" in each["extra"]) for each in two] == [
        ("exact", False),
        ("exact", False),
        ("upto", True),
    ]


# -- controls ---------------------------------------------------------------------------------------------------------


def test_the_log_of_requests_names_proofs_by_digest_alone(shop, buy):
    _, _, headers = buy(shop, "/joke")
    rows = shop.box.requests
    (value,) = headers.values()
    assert [(each.method, each.path, each.proof, each.status) for each in rows] == [
        ("GET", "/joke", False, 402),
        ("GET", "/joke", True, 200),
    ]
    assert [each.digest for each in rows] == ["", hashlib.sha256(value.encode()).hexdigest()]


def test_the_oldest_requests_are_forgotten_and_counted(shop):
    shop.box.seller.visits = Visits(3)
    for path in ("/joke", "/free", "/report", "/dear", "/free"):
        shop.get(path)
    newest = ["/report", "/dear", "/free"]
    assert [each.path for each in shop.box.requests] == newest
    assert [each["path"] for each in shop.get("/sandbox/state").json()["requests"]] == newest
    for number, paths in ((0, newest), (3, newest[1:]), (5, []), (9, [])):
        found, came = shop.box.requests_since(number)
        assert ([each.path for each in found], came) == (paths, 5)


def test_the_faucet_and_the_state(shop, buy, tools):
    somebody = "0x" + "99" * 20
    assert shop.post("/sandbox/fund", json={"address": somebody, "amount": 5}).json()["balance"] == "5"
    assert shop.post("/sandbox/fund", json={"address": somebody, "amount": "7"}).json()["balance"] == "12"
    buy(shop, "/joke")
    state = shop.get("/sandbox/state").json()
    assert state["balances"][shop.box.pay_to] == "10000"
    assert [each["amount"] for each in state["settlements"]] == ["10000"]
    assert [each["proof"] for each in state["requests"]] == [False, True]
    assert shop.box.payer_key.hex() not in str(state)


@pytest.mark.parametrize(
    "path, body",
    [
        ("fund", {"address": "me", "amount": 1}),
        ("fund", {"address": "0x" + "99" * 20, "amount": 0}),
        ("fund", {"address": "0x" + "99" * 20, "amount": -5}),
        ("fund", {"address": "0x" + "99" * 20}),
        ("fund", []),
        ("warp", {"seconds": -1}),
        ("mine", {"blocks": 10**400}),
        ("mine", b'{"blocks": Infinity}'),
        ("scenario", {"name": "nonsense"}),
        ("scenario", {"name": "honest", "parameters": {"colour": "red"}}),
    ],
)
def test_a_wrong_control_is_a_bad_request(shop, path, body):
    answer = shop.post(f"/sandbox/{path}", content=body if isinstance(body, bytes) else json.dumps(body))
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_another_process_may_change_scenario_and_time(shop):
    body = {"name": "slow_settlement", "parameters": {"seconds": 0.1}}
    assert shop.post("/sandbox/scenario", json=body).json() == {"scenario": "slow_settlement"}
    assert shop.box.scenario.seconds == 0.1
    before = shop.box.ground.chain.now()
    assert shop.post("/sandbox/warp", json={"seconds": 60}).json()["now"] >= before + 60
