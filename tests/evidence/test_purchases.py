"""Signed offers and receipts in real purchases: judged before paying, kept, and verified by somebody else's program."""

import base64
import json
import socket

import httpx
import pytest
from typer.testing import CliRunner

from x402_agent import Payer, Settings
from x402_agent.cli.app import app
from x402_agent.errors import ChallengeInvalid
from x402_agent.sandbox.messages import decode64, encode64


@pytest.fixture
def payer():
    settings = Settings.load()
    with Payer.sandbox(ledger=settings.sandbox_ledger, settings=settings) as made:
        yield made


def cli(*words):
    return CliRunner().invoke(app, list(words))


def buy(payer, path):
    with payer.client() as http:
        reply = http.get(payer.sandbox.url(path))
    assert reply.status_code == 200
    payer.ledger.flush()
    return reply.extensions["payment"].payment_id


@pytest.mark.parametrize("path", ["/signed", "/v1/signed"])
def test_a_signed_purchase_is_kept_and_verified_by_a_third_party(payer, path, tmp_path, monkeypatch):
    bought = buy(payer, path)
    assert [kind for kind, _ in payer.ledger.evidence(bought)] == ["offer", "receipt"]
    file = tmp_path / "evidence.json"
    assert cli("receipt", bought[:8], "-o", str(file)).exit_code == 0
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path / "somebody-else"))
    shown = cli("receipt", str(file), "--verify")
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("holds: signed by the payee " + payer.sandbox.pay_to) == 2


def test_an_unsigned_purchase_says_so(payer):
    bought = buy(payer, "/joke")
    assert payer.ledger.evidence(bought) == []
    shown = cli("receipt", bought, "--verify")
    assert shown.exit_code == 1 and "signed neither" in shown.output


@pytest.mark.parametrize("field", ["url", "payer", "network", "pay_to"])
def test_evidence_of_another_purchase_does_not_hold(payer, field, tmp_path):
    bought = buy(payer, "/signed")
    document = json.loads(cli("receipt", bought, "--json").output)
    document.pop("judged")
    document["payment"][field] += "0"
    file = tmp_path / "forged.json"
    file.write_text(json.dumps(document))
    shown = cli("receipt", str(file), "--verify")
    assert shown.exit_code == 1 and "holds:" not in shown.output.split("receipt ")[-1]


def test_a_signature_changed_by_a_letter_does_not_hold(payer, tmp_path):
    document = json.loads(cli("receipt", buy(payer, "/signed"), "--json").output)
    artifact = next(each["artifact"] for each in document["signed"] if each["kind"] == "receipt")
    artifact["payload"]["issuedAt"] += 1
    file = tmp_path / "forged.json"
    file.write_text(json.dumps(document))
    assert cli("receipt", str(file), "--verify").exit_code == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"format":"x402-agent evidence 1","payment":{},"signed":[7]}'])
def test_a_file_that_is_no_evidence_is_an_error_not_a_crash(text, tmp_path):
    file = tmp_path / "odd.json"
    file.write_text(text)
    shown = cli("receipt", str(file), "--verify")
    assert shown.exit_code == 1 and "Traceback" not in shown.output


def test_W12_a_file_cannot_write_to_the_terminal(tmp_path):
    file = tmp_path / "odd.json"
    document = {"format": "x402-agent evidence 1", "payment": {"url": "\x1b[2Jx"}, "signed": [], "claim": "\x1b]0;x\x07"}
    file.write_text(json.dumps(document))
    assert "\x1b" not in cli("receipt", str(file)).output


class Tampering(httpx.BaseTransport):
    """Somebody between us and the seller, who raises the price and cannot sign."""

    def __init__(self, inner, change):
        self.inner, self.change = inner, change

    def handle_request(self, request):
        reply = self.inner.handle_request(request)
        if "payment-required" in reply.headers:
            document = decode64(reply.headers["payment-required"])
            self.change(document)
            reply.headers["payment-required"] = encode64(document)
        return reply


def set_amount(document):
    document["accepts"][0]["amount"] = "90000"


def set_payee(document):
    document["accepts"][0]["payTo"] = "0x" + "12" * 20


def set_signature(document):
    artifact = document["extensions"]["offer-receipt"]["info"]["offers"][0]
    artifact["signature"] = "0x" + "00" * 65


def set_expired(document):
    document["extensions"]["offer-receipt"]["info"]["offers"][0]["payload"]["validUntil"] = 1


@pytest.mark.parametrize("change", [set_amount, set_payee, set_signature, set_expired])
def test_R3_other_terms_than_signed_are_never_paid(payer, change):
    with payer.client(transport=Tampering(payer.sandbox.transport(), change)) as http:
        with pytest.raises(ChallengeInvalid) as caught:
            http.get(payer.sandbox.url("/signed"))
    assert "signed" in str(caught.value) and payer.ledger.payments() == []


def test_an_offer_without_its_signature_is_paid_as_any_other(payer):
    def strip(document):
        document["extensions"]["offer-receipt"]["info"]["offers"] = [{"format": "jws", "signature": "no"}, 7, None]

    with payer.client(transport=Tampering(payer.sandbox.transport(), strip)) as http:
        assert http.get(payer.sandbox.url("/signed")).status_code == 200


def test_a_key_that_its_host_serves_is_never_fetched(payer):
    with socket.create_server(("127.0.0.1", 0)) as host:
        host.setblocking(False)
        kid = f"did:web:127.0.0.1%3A{host.getsockname()[1]}#key-1"

        def rewrite(document):
            offers = document["extensions"]["offer-receipt"]["info"]["offers"]
            head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
                          for part in ({"alg": "ES256K", "kid": kid}, offers[0]["payload"]))  # fmt: skip
            offers[:] = [{"format": "jws", "signature": f"{head}.{body}.{'A' * 86}"}]

        with payer.client(transport=Tampering(payer.sandbox.transport(), rewrite)) as http:
            bought = http.get(payer.sandbox.url("/signed")).extensions["payment"].payment_id
        payer.ledger.flush()
        shown = cli("receipt", bought)
        assert f"offer      proves nothing by itself: its key {kid} is one that its host can exchange" in shown.output
        with pytest.raises(BlockingIOError):
            host.accept()
    assert [kind for kind, _ in payer.ledger.evidence(bought)] == ["offer", "receipt"]


def test_a_claim_is_for_what_was_paid_and_not_delivered(tmp_path):
    settings = Settings.load()
    with Payer.sandbox("settles_then_500", ledger=settings.sandbox_ledger, settings=settings) as payer:
        with payer.client() as http:
            assert http.get(payer.sandbox.url("/signed")).status_code == 500
        payer.ledger.flush()
        one = payer.ledger.payments()[0]
        file = tmp_path / "claim.json"
        shown = cli("claim", one.payment_id[:8], "-o", str(file))
        assert shown.exit_code == 0 and "not delivered: the last answer was 500" in shown.output
        document = json.loads(file.read_text())
        assert [each["kind"] for each in document["signed"]] == ["offer"] and document["events"]
        key = payer.sandbox.payer_key
        assert (key.hex() if isinstance(key, bytes) else str(key)).removeprefix("0x") not in file.read_text()


def test_a_delivered_purchase_has_no_claim(payer):
    shown = cli("claim", buy(payer, "/joke"))
    assert shown.exit_code == 1 and "was delivered" in shown.output
