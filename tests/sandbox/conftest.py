"""A buyer who signs by hand, a wallet that signs with eth_account, and the two doors of a sandbox."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from eth_account import Account
from typer.testing import CliRunner

from x402_agent.cli.app import app
from x402_agent.primitives import EvmKey, keccak
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.node import answer_rpc
from x402_agent.sandbox.permit2 import EXACT_PROXY, UPTO_PROXY, Permit

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
CHAIN_ID = 84532
AUTHORIZATION = (
    "TransferWithAuthorization(address from,address to,uint256 value,"
    "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)


def word(value: int | str | bytes) -> bytes:
    """One ABI word: a number, a 0x-address, or 32 bytes."""
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    return (bytes.fromhex(value[2:]) if isinstance(value, str) else value).rjust(32, b"\0")


def domain(name: str = "USDC", version: str = "2", chain_id: int = CHAIN_ID, token: str = USDC) -> bytes:
    """The EIP-712 domain separator, written out."""
    kind = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    return keccak(kind + keccak(name.encode()) + keccak(version.encode()) + word(chain_id) + word(token))


def typed(kind: str, *values: int | str | bytes, separator: bytes | None = None) -> bytes:
    """The 32 bytes to sign for a struct of static fields."""
    body = keccak(keccak(kind.encode()) + b"".join(map(word, values)))
    return keccak(b"\x19\x01" + (separator or domain()) + body)


def decode(header: str) -> Any:
    return json.loads(base64.b64decode(header, validate=True))


def encode(document: Any) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


@dataclass
class Buyer:
    """Signs for the payer of a sandbox, honestly unless told otherwise."""

    box: Sandbox

    def __post_init__(self) -> None:
        self.key = EvmKey(self.box.payer_key)

    def payload(self, *, separator: bytes | None = None, signer: EvmKey | None = None, **change: Any) -> dict[str, Any]:
        """`payload` of the scheme exact, 0.01 USDC to the seller; `change` replaces signed fields."""
        now = self.box.ground.chain.now()
        fields = {
            "from": self.key.address,
            "to": self.box.pay_to,
            "value": "10000",
            "validAfter": str(now - 600),
            "validBefore": str(now + 60),
            "nonce": "0x" + secrets.token_hex(32),
        } | {key.rstrip("_"): value for key, value in change.items()}
        numbers = (int(fields[key]) for key in ("value", "validAfter", "validBefore"))
        nonce = bytes.fromhex(fields["nonce"][2:])
        digest = typed(AUTHORIZATION, fields["from"], fields["to"], *numbers, nonce, separator=separator)
        return {"signature": "0x" + (signer or self.key).sign(digest).hex(), "authorization": fields}

    def permit(self, scheme: str = "exact", *, signer: EvmKey | None = None, **change: Any) -> dict[str, Any]:
        """`payload` by Permit2, 0.01 USDC or up to it to the seller; `change` replaces signed fields."""
        now = self.box.ground.chain.now()
        witness = {"to": self.box.pay_to, "validAfter": "0"}
        if scheme == "upto":
            witness["facilitator"] = self.box.facilitator_address
        fields = {
            "from": self.key.address,
            "spender": "0x" + (UPTO_PROXY if scheme == "upto" else EXACT_PROXY).hex(),
            "nonce": str(secrets.randbits(256)),
            "deadline": str(now + 60),
            "permitted": {"token": USDC, "amount": "10000"},
            "witness": witness,
        }
        for name, value in change.items():
            where = next((each for each in (fields["permitted"], witness) if name in each), fields)
            where[name.rstrip("_")] = value
        raw = {name: bytes.fromhex(fields[name][2:]) for name in ("from", "spender")}
        signed = Permit(
            raw["from"],
            bytes.fromhex(witness["to"][2:]),
            int(fields["permitted"]["amount"]),
            int(witness["validAfter"]),
            int(fields["deadline"]),
            int(fields["nonce"]).to_bytes(32, "big"),
            bytes.fromhex(fields["permitted"]["token"][2:]),
            raw["spender"],
            bytes.fromhex(witness.get("facilitator", "0x")[2:]),
        )
        return {
            "signature": "0x" + (signer or self.key).sign(signed.digest()).hex(),
            "permit2Authorization": fields,
        }

    def permit_request(self, scheme: str = "exact", asked: dict[str, Any] | None = None, **change: Any) -> dict:
        """The body of a facilitator request by Permit2; `asked` changes what the seller wants."""
        extra = {"name": "USDC", "version": "2", "assetTransferMethod": "permit2"}
        if scheme == "upto":
            extra["facilitatorAddress"] = self.box.facilitator_address
        wanted = self.requirement(2, scheme=scheme, extra=extra) | (asked or {})
        sent = {"x402Version": 2, "accepted": wanted, "payload": self.permit(scheme, **change)}
        return {"x402Version": 2, "paymentPayload": sent, "paymentRequirements": wanted}

    def requirement(self, version: int = 2, **change: Any) -> dict[str, Any]:
        """What the seller asks for /joke."""
        common = {
            "scheme": "exact",
            "asset": USDC,
            "payTo": self.box.pay_to,
            "maxTimeoutSeconds": 60,
            "extra": {"name": "USDC", "version": "2"},
        }
        own = {"network": "eip155:84532", "amount": "10000"}
        if version == 1:
            own = {"network": "base-sepolia", "maxAmountRequired": "10000", "resource": "http://x/", "description": ""}
        return common | own | change

    def request(self, version: int = 2, requirement: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
        """The body of a facilitator request."""
        asked = requirement or self.requirement(version)
        sent = {"x402Version": version, "payload": self.payload(**change)}
        if version == 1:
            sent |= {"scheme": "exact", "network": "base-sepolia"}
        else:
            sent |= {"accepted": asked}
        return {"x402Version": version, "paymentPayload": sent, "paymentRequirements": asked}

    def header(self, answer: Any, index: int = 0, **extra: Any) -> dict[str, str]:
        """The payment header for a 402, v2 before v1."""
        if "payment-required" in answer.headers:
            asked = decode(answer.headers["payment-required"])
        else:
            asked = answer.json()
        entry = asked["accepts"][index]
        amount = entry["amount" if asked["x402Version"] == 2 else "maxAmountRequired"]
        if entry["extra"].get("assetTransferMethod") == "permit2":
            inner = self.permit(entry["scheme"], amount=amount, to=entry["payTo"])
        else:
            inner = self.payload(value=amount, to=entry["payTo"])
        if asked["x402Version"] == 1:
            sent = {"x402Version": 1, "scheme": "exact", "network": entry["network"], "payload": inner}
            return {"X-PAYMENT": encode(sent)}
        sent = {"x402Version": 2, "accepted": entry, "payload": inner, **extra}
        if "extensions" in asked and "extensions" not in extra:
            sent["extensions"] = asked["extensions"]
        return {"PAYMENT-SIGNATURE": encode(sent)}


FEES = {
    "legacy": {"gasPrice": 3_000_000},
    "2930": {"gasPrice": 3_000_000, "accessList": [{"address": USDC, "storageKeys": [3, 4]}], "type": 1},
    "1559": {"maxFeePerGas": 5_000_000, "maxPriorityFeePerGas": 2_000_000, "type": 2},
}


class Wallet:
    """The payer's account, signing with eth_account, and a node that answers in words."""

    def __init__(self, box):
        self.box = box
        self.account = Account.from_key(box.payer_key)
        self.address = self.account.address

    def rpc(self, method, *params):
        answer = answer_rpc(self.box.ground.chain, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 1)
        return answer["result"] if "result" in answer else answer["error"]

    def number(self, method, *params):
        return int(self.rpc(method, *params), 16)

    def nonce(self, tag="latest"):
        return self.number("eth_getTransactionCount", self.address, tag)

    def sign(self, kind="1559", **change):
        fields = {"chainId": CHAIN_ID, "nonce": self.nonce(), "gas": 200_000, "to": self.box.pay_to, "value": 0,
                  "data": b""} | FEES[kind] | change  # fmt: skip
        return self.account.sign_transaction({name: value for name, value in fields.items() if value is not None})

    def send(self, kind="1559", **change):
        return self.raw(self.sign(kind, **change))

    def raw(self, made):
        return self.rpc("eth_sendRawTransaction", "0x" + bytes(made.raw_transaction).hex())

    def refused(self, kind="1559", **change):
        before = self.rpc("eth_getBalance", self.address), self.nonce()
        answer = self.send(kind, **change)
        assert answer["code"] == -32000
        assert (self.rpc("eth_getBalance", self.address), self.nonce()) == before
        return answer["message"]


@pytest.fixture(params=["pyrevm", "py-evm"])
def both(request):
    """A sandbox on each EVM."""
    with Sandbox(backend=request.param) as box:
        yield box


@pytest.fixture
def box():
    with Sandbox() as made:
        yield made


@pytest.fixture
def buyer(box):
    return Buyer(box)


@pytest.fixture
def buyer_of():
    return Buyer


@pytest.fixture(params=["in process", "served"])
def shop(request, box):
    """A client at one of the two doors; `shop.box` is the sandbox."""
    if request.param == "served":
        box.serve()
        made = httpx2.Client(base_url=box.origin, timeout=5, trust_env=False)
    else:
        made = httpx2.Client(base_url=box.origin, timeout=5, transport=box.transport())
    with made as client:
        client.box = box
        yield client


@pytest.fixture
def buy(buyer):
    """Ask, sign, show the proof: (402, answer to the proof, headers of the proof)."""

    def run(client: Any, path: str, method: str = "GET", index: int = 0, **options: Any) -> tuple[Any, Any, dict]:
        asked = client.request(method, path, **options)
        assert asked.status_code == 402, asked.text
        headers = buyer.header(asked, index)
        return asked, client.request(method, path, headers=headers, **options), headers

    return run


@pytest.fixture
def wallet(box):
    return Wallet(box)


@pytest.fixture
def on_both(both):
    return Wallet(both)


@pytest.fixture
def refused():
    def run(box: Sandbox, body: object) -> str:
        """The code that /verify and /settle agree on; nothing moved."""
        before = box.balance(box.pay_to)
        verdict = box.facilitator.verify_json(body)
        settled = box.facilitator.settle_json(body)
        assert verdict["isValid"] is False
        assert settled["success"] is False
        assert settled["transaction"] == ""
        assert verdict["invalidReason"] == settled["errorReason"]
        assert box.balance(box.pay_to) == before
        assert box.settlements == []
        return verdict["invalidReason"]

    return run


@pytest.fixture
def tools():
    """The helpers of this file, for tests that need them by name."""

    class Tools:
        decode, encode, typed, domain, word = map(staticmethod, (decode, encode, typed, domain, word))
        usdc = USDC

    return Tools


@pytest.fixture
def now():
    return int(time.time())


@pytest.fixture
def fresh(postgresql, request):
    """A PostgreSQL where the seller of this folder has nothing yet."""
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as link:
        link.execute(f"drop schema if exists x402_{request.path.parent.name} cascade")
    return postgresql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def database(request):
    return "" if request.param == "sqlite" else request.getfixturevalue("fresh")


@pytest.fixture
def db(tmp_path, monkeypatch, request, database):
    """Runs a verb on the database of this folder's seller; -> (exit code, what --json said)."""
    name = request.path.parent.name
    url = database or str(tmp_path / f"{name}.db")
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", url)

    def run(verb, *words):
        done = CliRunner().invoke(app, ["sandbox", "db", verb, "--seller", name, *words, "--json"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, json.loads(done.stdout)

    run.url = url
    return run
