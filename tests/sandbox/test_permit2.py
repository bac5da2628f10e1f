"""Permit2, the two proxies and Multicall3 do what their interfaces say, on both EVMs. Signed by eth_account."""

from __future__ import annotations

import secrets

import pytest
from eth_abi import decode, encode
from eth_account import Account

from x402_agent.primitives import EvmKey, checksum, keccak
from x402_agent.sandbox.evm import Chain
from x402_agent.sandbox.permit2 import EXACT_PROXY, MULTICALL3, PERMIT2, UPTO_PROXY, Permit, Permit2
from x402_agent.sandbox.reverts import revert_reason
from x402_agent.sandbox.token import Token, selector

OWNER, PAYER, PAYEE, SENDER = (EvmKey(bytes((n,)) * 32) for n in (0x11, 0x22, 0x33, 0x44))
START, ALLOWED = 1_000_000, 500_000
DOMAIN = {"name": "Permit2", "chainId": 84532, "verifyingContract": "0x000000000022D473030F116dDEE9F6B43aC78BA3"}
TOKEN = [("token", "address"), ("amount", "uint256")]
HEAD = [("permitted", "TokenPermissions"), ("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256")]
EXACT = [("to", "address"), ("validAfter", "uint256")]
UPTO = [("to", "address"), ("facilitator", "address"), ("validAfter", "uint256")]
AGREES = bytes.fromhex("631626ba7e60e01b5f5260205ff3")  # a wallet that agrees to everything (EIP-1271)
DISAGREES = bytes.fromhex("5f5f5260205ff3")


def raw(key):
    return bytes.fromhex(key.address[2:])


def text(address):
    return checksum("0x" + address.hex())


def rows(fields):
    return [{"name": name, "type": kind} for name, kind in fields]


class World:
    """A chain with the token and Permit2, and calls of them in words."""

    def __init__(self, backend):
        self.time = 1_800_000_000
        self.chain = Chain(lambda: self.time, backend)
        self.token = Token(self.chain, OWNER)
        self.permit2 = Permit2(self.chain)
        self.token.mint(raw(PAYER), START)
        self.token.approve(PAYER, PERMIT2, ALLOWED)

    def permit(self, scheme="exact", **change):
        fields = {
            "sender": raw(PAYER),
            "to": raw(PAYEE),
            "value": 1000,
            "valid_after": 0,
            "valid_before": self.time + 600,
            "nonce": secrets.token_bytes(32),
            "token": self.token.address,
            "spender": EXACT_PROXY if scheme == "exact" else UPTO_PROXY,
            "facilitator": b"" if scheme == "exact" else raw(SENDER),
        }
        return Permit(**(fields | change))

    @staticmethod
    def sign(permit, key=b"\x22" * 32):
        """By eth_account, from the types written out."""
        witness = {"to": text(permit.to), "validAfter": permit.valid_after}
        if permit.facilitator:
            witness["facilitator"] = text(permit.facilitator)
        types = {
            "PermitWitnessTransferFrom": rows([*HEAD, ("witness", "Witness")]),
            "TokenPermissions": rows(TOKEN),
            "Witness": rows(UPTO if permit.facilitator else EXACT),
        }
        message = {
            "permitted": {"token": text(permit.token), "amount": permit.value},
            "spender": text(permit.spender),
            "nonce": int.from_bytes(permit.nonce),
            "deadline": permit.valid_before,
            "witness": witness,
        }
        return bytes(Account.sign_typed_data(key, DOMAIN, types, message).signature)

    def settle(self, permit, amount=None, signature=None, sender=SENDER, signed=None):
        """ "" when it settled, else the reason; `signed` is what the signature is over when that is something else."""
        made = self.sign(signed or permit) if signature is None else signature
        to, data = permit.settlement(made, permit.value if amount is None else amount)
        done = self.chain.send(sender, to, data)
        assert bool(done.status) == (done.reason == "")
        return done.reason

    def balances(self):
        return self.token.balance(raw(PAYER)), self.token.balance(raw(PAYEE)), self.token.allowance(raw(PAYER), PERMIT2)


@pytest.fixture(params=["pyrevm", "py-evm"])
def world(request):
    return World(request.param)


schemes = pytest.mark.parametrize("scheme", ["exact", "upto"])


@schemes
def test_what_we_sign_is_what_eth_account_signs(world, scheme):
    permit = world.permit(scheme)
    assert Account._recover_hash(permit.digest(), signature=world.sign(permit)) == PAYER.address
    assert world.sign(permit) == PAYER.sign(permit.digest())


def test_the_domain_is_the_contracts_own(world):
    kind = keccak(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
    written = kind + keccak(b"Permit2") + encode(["uint256", "address"], [84532, DOMAIN["verifyingContract"]])
    assert world.permit2.domain_separator() == keccak(written)


@schemes
def test_a_settlement_moves_the_tokens_and_spends_the_nonce_and_the_allowance(world, scheme):
    permit = world.permit(scheme)
    assert not world.permit2.used(raw(PAYER), permit.nonce)
    assert world.settle(permit) == ""
    assert world.balances() == (START - 1000, 1000, ALLOWED - 1000)
    assert world.permit2.used(raw(PAYER), permit.nonce)
    assert not world.permit2.used(raw(PAYER), bytes(31) + b"\x01")
    assert world.settle(permit) == "InvalidNonce"
    assert world.balances() == (START - 1000, 1000, ALLOWED - 1000)


@pytest.mark.parametrize(
    "amount, reason", [(0, "InvalidAmount"), (1, ""), (999, ""), (1000, ""), (1001, "AmountExceedsPermitted")]
)
def test_upto_moves_what_it_is_told_up_to_the_ceiling(world, amount, reason):
    assert world.settle(world.permit("upto"), amount) == reason
    assert world.balances()[1] == (0 if reason else amount)


@schemes
@pytest.mark.parametrize(
    "change, reason",
    [
        ({"valid_before": 1_799_999_999}, "SignatureExpired"),
        ({"valid_after": 1_800_000_100}, "PaymentTooEarly"),
        ({"to": bytes(20)}, "InvalidDestination"),
        ({"to": bytes(20), "sender": bytes(20)}, "InvalidOwner"),
        ({"value": 0}, "InvalidAmount"),
        ({"sender": bytes(20)}, "InvalidOwner"),
        ({"value": ALLOWED + 1}, "TRANSFER_FROM_FAILED"),
        ({"sender": raw(SENDER)}, "InvalidSigner"),
    ],
)
def test_what_the_contracts_refuse(world, scheme, change, reason):
    assert world.settle(world.permit(scheme, **change)) == reason
    assert world.balances() == (START, 0, ALLOWED)


@schemes
@pytest.mark.parametrize("field", ["to", "value", "valid_after", "valid_before", "nonce", "spender", "token"])
def test_every_field_is_signed(world, scheme, field):
    permit = world.permit(scheme)
    other = {"to": raw(SENDER), "token": b"\x05" * 20, "spender": b"\x06" * 20, "nonce": secrets.token_bytes(32)}
    change = other.get(field) or getattr(permit, field) + 1
    assert world.settle(permit, signed=permit._replace(**{field: change})) in ("InvalidSigner", "InvalidSignature")
    assert world.balances() == (START, 0, ALLOWED)


def test_only_the_named_facilitator_settles_upto(world):
    assert world.settle(world.permit("upto"), sender=PAYEE) == "UnauthorizedFacilitator"
    permit = world.permit("upto", facilitator=raw(PAYEE))
    assert world.settle(permit, signed=permit._replace(facilitator=raw(SENDER)), sender=PAYEE) == "InvalidSigner"
    assert world.settle(permit, sender=PAYEE) == ""


def test_anybody_may_settle_exact(world):
    assert world.settle(world.permit(), sender=PAYEE) == ""


def test_a_short_signature_is_taken_and_a_broken_one_is_not(world):
    permit = world.permit()
    made = world.sign(permit)
    short = made[:32] + ((made[64] - 27) << 255 | int.from_bytes(made[32:64])).to_bytes(32, "big")  # EIP-2098
    assert world.settle(permit, signature=made[:63]) == "InvalidSignatureLength"
    assert world.settle(permit, signature=made[:64] + b"\x05") == "InvalidSignature"
    assert world.settle(permit, signature=short) == ""


@pytest.mark.parametrize("code, reason", [(AGREES, ""), (DISAGREES, "InvalidContractSignature")])
def test_a_contract_wallet_signs_in_its_own_way(world, code, reason):
    wallet = b"\x77" * 20
    world.token.mint(wallet, 5000)
    allow = selector("approve(address,uint256)") + encode(["address", "uint256"], [text(PERMIT2), 5000])
    assert world.chain._machine.run(wallet, world.token.address, allow, keep=True).ok
    world.chain.install(wallet, code)  # after its approval: an address with code sends nothing by itself (EIP-3607)
    assert world.settle(world.permit(sender=wallet), signature=b"\xab" * 100) == reason
    assert world.balances()[1] == (0 if reason else 1000)


def test_a_nonce_may_be_cancelled(world):
    permit = world.permit(nonce=(7 << 8 | 5).to_bytes(32, "big"))
    call = selector("invalidateUnorderedNonces(uint256,uint256)") + encode(["uint256", "uint256"], [7, 1 << 5])
    assert world.chain.send(PAYER, PERMIT2, call).status
    assert world.settle(permit) == "InvalidNonce"
    assert world.settle(world.permit(nonce=(7 << 8 | 6).to_bytes(32, "big"))) == ""


def test_a_permit_without_a_witness(world):
    """permitTransferFrom: the caller is the spender."""
    types = {"PermitTransferFrom": rows(HEAD), "TokenPermissions": rows(TOKEN)}
    token, until = text(world.token.address), world.time + 60
    message = {"permitted": {"token": token, "amount": 700}, "spender": SENDER.address, "nonce": 9, "deadline": until}
    made = bytes(Account.sign_typed_data(b"\x22" * 32, DOMAIN, types, message).signature)
    kinds = ["((address,uint256),uint256,uint256)", "(address,uint256)", "address", "bytes"]

    def call(key, amount):
        values = [((token, 700), 9, until), (PAYEE.address, amount), PAYER.address, made]
        data = selector(f"permitTransferFrom({','.join(kinds)})") + encode(kinds, values)
        return world.chain.send(key, PERMIT2, data).reason

    assert call(PAYEE, 600) == "InvalidSigner"
    assert call(SENDER, 701) == "InvalidAmount"
    assert call(SENDER, 600) == ""
    assert call(SENDER, 100) == "InvalidNonce"
    assert world.balances() == (START - 600, 600, ALLOWED - 600)


def many(world, signature, kinds, values, caller=bytes(20)):
    ran = world.chain.call(MULTICALL3, selector(signature) + encode(kinds, values), caller)
    return ran.output if ran.ok else revert_reason(ran.output)


def test_many_calls_in_one(world):
    """What facilitators ask when they look for the reason of a failure."""
    good = selector("balanceOf(address)") + encode(["address"], [PAYER.address])
    bad = selector("transfer(address,uint256)") + encode(["address", "uint256"], [PAYEE.address, 1])
    token = text(world.token.address)
    three = many(world, "aggregate3((address,bool,bytes)[])", ["(address,bool,bytes)[]"],
                 [[(token, True, good), (token, True, bad), (text(b"\x05" * 20), True, good)]])  # fmt: skip
    two = many(world, "tryAggregate(bool,(address,bytes)[])", ["bool", "(address,bytes)[]"],
               [False, [(token, good), (token, bad)]])  # fmt: skip
    (three,), (two,) = (decode(["(bool,bytes)[]"], each) for each in (three, two))
    assert [ok for ok, _ in three] == [True, False, True]
    assert three[:2] == two
    assert int.from_bytes(two[0][1]) == START
    assert revert_reason(two[1][1]) == "ERC20: transfer amount exceeds balance"
    strict = many(world, "tryAggregate(bool,(address,bytes)[])", ["bool", "(address,bytes)[]"], [True, [(token, bad)]])
    assert strict == "Multicall3: call failed"


def test_what_multicall_knows_of_the_chain(world):
    world.chain.endow(raw(PAYER), 10**18 + 7)
    assert int.from_bytes(many(world, "getEthBalance(address)", ["address"], [PAYER.address])) == 10**18 + 7
    assert int.from_bytes(many(world, "getChainId()", [], [])) == 84532
    assert int.from_bytes(many(world, "getBlockNumber()", [], [])) == world.chain.head().number + 1
    assert int.from_bytes(many(world, "getCurrentBlockTimestamp()", [], [])) == world.time
