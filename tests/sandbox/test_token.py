"""The sandbox's USDC does what EIP-3009, EIP-2612 and EIP-1271 say, on both EVMs. Signed by eth_account."""

from __future__ import annotations

import secrets

import pytest
from eth_abi import encode
from eth_account import Account

from x402_agent import assets
from x402_agent.chains.evm.eip3009 import domain_separator
from x402_agent.primitives import EvmKey
from x402_agent.sandbox.evm import Chain, revert_reason
from x402_agent.sandbox.token import Token

OWNER, PAYER, PAYEE = EvmKey(b"\x11" * 32), EvmKey(b"\x22" * 32), EvmKey(b"\x33" * 32)
SIX = "address,address,uint256,uint256,uint256,bytes32"
VRS, BYTES = "uint8,bytes32,bytes32", "bytes"
FIELDS = {
    "TransferWithAuthorization": "from:address to:address value:uint256 validAfter:uint256 validBefore:uint256 nonce:bytes32",
    "ReceiveWithAuthorization": "from:address to:address value:uint256 validAfter:uint256 validBefore:uint256 nonce:bytes32",
    "CancelAuthorization": "authorizer:address nonce:bytes32",
    "Permit": "owner:address spender:address value:uint256 nonce:uint256 deadline:uint256",
}
START = 1_000_000
# PUSH4 0x1626ba7e, PUSH1 224, SHL, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN: a wallet that agrees to everything
AGREES = bytes.fromhex("631626ba7e60e01b5f5260205ff3")
DISAGREES = bytes.fromhex("5f5f5260205ff3")


class World:
    """A chain with the token, and calls of it in words."""

    def __init__(self, backend: str) -> None:
        self.time = 1_800_000_000
        self.chain = Chain(lambda: self.time, backend)
        self.token = Token(self.chain, OWNER)
        self.token.mint(raw(PAYER), START)

    def send(self, key: EvmKey, signature: str, *values: object) -> str:
        """ "" when it worked, else the reason."""
        kinds = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
        done = self.token.send(key, signature, encode(kinds, values))
        assert bool(done.status) == (done.reason == "")
        return done.reason

    def authorized(self, name: str, message: dict, form: str, key: EvmKey = OWNER, **changed: object) -> str:
        """Call name(...) with a signature by PAYER over `message`, sent as v, r, s or as bytes."""
        kind = name[0].upper() + name[1:]
        signature = self.sign(kind, message)
        values = tuple((message | changed).values())
        head = SIX if kind != "CancelAuthorization" else "address,bytes32"
        return self.send(key, f"{name}({head},{form})", *values, *self.split(signature, form))

    @staticmethod
    def split(signature: bytes, form: str) -> tuple[object, ...]:
        return (signature[64], signature[:32], signature[32:64]) if form == VRS else (signature,)

    @staticmethod
    def sign(kind: str, message: dict) -> bytes:
        fields = [dict(zip(("name", "type"), each.split(":"), strict=True)) for each in FIELDS[kind].split()]
        domain = {
            "name": "USDC",
            "version": "2",
            "chainId": 84532,
            "verifyingContract": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        }
        return bytes(Account.sign_typed_data(b"\x22" * 32, domain, {kind: fields}, message).signature)

    def message(self, **change: object) -> dict:
        return {
            "from": PAYER.address,
            "to": PAYEE.address,
            "value": 1000,
            "validAfter": 0,
            "validBefore": self.time + 600,
            "nonce": secrets.token_bytes(32),
        } | change

    def balance(self, key: EvmKey) -> int:
        return self.token.balance(raw(key))


def raw(key: EvmKey) -> bytes:
    return bytes.fromhex(key.address[2:])


@pytest.fixture(params=["pyrevm", "py-evm"])
def world(request):
    return World(request.param)


form = pytest.mark.parametrize("form", [VRS, BYTES], ids=["v,r,s", "bytes"])


def test_the_domain_is_the_pinned_one_at_the_real_address(world):
    pinned = assets.asset(assets.network("eip155:84532"), "0x036CbD53842c5426634e7929541eC2318f3dCF7e")
    assert world.token.address.hex() == "036cbd53842c5426634e7929541ec2318f3dcf7e"
    assert world.token.domain_separator() == domain_separator(pinned.id)


def test_its_name_symbol_version_and_decimals(world):
    words = [world.token.view(f"{each}()") for each in ("name", "symbol", "version", "decimals")]
    assert [each.rstrip(b"\0")[64:] for each in words[:3]] == [b"USDC", b"USDC", b"2"]
    assert int.from_bytes(words[3]) == 6


def test_it_is_set_up_once(world):
    again = world.send(PAYER, "initialize(string,string,string,uint8)", "Fake", "FAKE", "1", 18)
    assert again == "SandboxUSDC: initialized already"


def test_only_its_owner_mints(world):
    assert world.send(PAYER, "mint(address,uint256)", PAYER.address, 5) == "Ownable: caller is not the owner"
    assert world.balance(PAYER) == START


@form
def test_a_transfer_with_authorization_moves_the_money_once(world, form):
    message = world.message()
    assert world.authorized("transferWithAuthorization", message, form) == ""
    assert (world.balance(PAYER), world.balance(PAYEE)) == (START - 1000, 1000)
    assert world.token.used(raw(PAYER), message["nonce"])
    for other in (VRS, BYTES):
        refused = world.authorized("transferWithAuthorization", message, other)
        assert refused == "FiatTokenV2: authorization is used or canceled"
    assert world.balance(PAYEE) == 1000


@form
def test_a_transfer_is_refused_after_valid_before_and_at_it(world, form):
    for late in (world.time - 5, world.time):
        message = world.message(validBefore=late)
        refused = world.authorized("transferWithAuthorization", message, form)
        assert refused == "FiatTokenV2: authorization is expired"


@form
def test_a_transfer_is_refused_before_valid_after_and_at_it(world, form):
    for early in (world.time + 3600, world.time):
        message = world.message(validAfter=early, validBefore=world.time + 7200)
        refused = world.authorized("transferWithAuthorization", message, form)
        assert refused == "FiatTokenV2: authorization is not yet valid"


@form
@pytest.mark.parametrize("change", [{"value": 999_999}, {"to": OWNER.address}, {"validBefore": 2**40}])
def test_a_changed_field_breaks_the_signature(world, form, change):
    refused = world.authorized("transferWithAuthorization", world.message(), form, **change)
    assert refused == "FiatTokenV2: invalid signature"


@form
def test_nobody_spends_more_than_they_have(world, form):
    message = world.message(value=START + 1)
    assert world.authorized("transferWithAuthorization", message, form) == "ERC20: transfer amount exceeds balance"
    assert not world.token.used(raw(PAYER), message["nonce"])  # a refused transfer leaves the nonce free


def test_the_other_form_of_a_signature_is_refused(world):
    message = world.message()
    signature = world.sign("TransferWithAuthorization", message)
    high = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(signature[32:64])
    values = (*message.values(), 55 - signature[64], signature[:32], high.to_bytes(32))
    refused = world.send(OWNER, f"transferWithAuthorization({SIX},{VRS})", *values)
    assert refused == "ECRecover: invalid signature 's' value"


@form
def test_receive_with_authorization_is_for_the_payee_alone(world, form):
    message = world.message()
    refused = world.authorized("receiveWithAuthorization", message, form)
    assert refused == "FiatTokenV2: caller must be the payee"
    assert world.authorized("receiveWithAuthorization", message, form, key=PAYEE) == ""
    assert world.balance(PAYEE) == 1000


@form
def test_a_cancelled_authorization_can_never_be_used(world, form):
    message = world.message()
    cancel = {"authorizer": PAYER.address, "nonce": message["nonce"]}
    assert world.authorized("cancelAuthorization", cancel, form) == ""
    for name, what in (("transferWithAuthorization", message), ("cancelAuthorization", cancel)):
        assert world.authorized(name, what, form) == "FiatTokenV2: authorization is used or canceled"


@form
def test_a_permit_allows_once(world, form):
    values = {
        "owner": PAYER.address,
        "spender": PAYEE.address,
        "value": 700,
        "nonce": 0,
        "deadline": world.time + 600,
    }
    signature = world.sign("Permit", values)
    name = f"permit(address,address,uint256,uint256,{form})"
    arguments = (PAYER.address, PAYEE.address, 700, world.time + 600, *world.split(signature, form))
    assert world.send(OWNER, name, *arguments) == ""
    assert world.send(OWNER, name, *arguments) == "EIP2612: invalid signature"
    spend = "transferFrom(address,address,uint256)"
    assert world.send(PAYEE, spend, PAYER.address, OWNER.address, 700) == ""
    assert world.send(PAYEE, spend, PAYER.address, OWNER.address, 1) == "ERC20: transfer amount exceeds allowance"
    assert world.balance(OWNER) == 700


def test_an_expired_permit_is_refused(world):
    late = world.time - 1
    values = {"owner": PAYER.address, "spender": PAYEE.address, "value": 7, "nonce": 0, "deadline": late}
    refused = world.send(
        OWNER,
        f"permit(address,address,uint256,uint256,{BYTES})",
        PAYER.address,
        PAYEE.address,
        7,
        late,
        world.sign("Permit", values),
    )
    assert refused == "FiatTokenV2: permit is expired"


@pytest.mark.parametrize("code, reason", [(AGREES, ""), (DISAGREES, "FiatTokenV2: invalid signature")])
def test_a_contract_wallet_is_asked(world, code, reason):
    wallet = b"\x77" * 20
    world.chain.install(wallet, code)
    world.token.mint(wallet, 5000)
    message = world.message(**{"from": "0x" + wallet.hex()})
    values = (*message.values(), b"whatever this wallet takes for a signature")
    assert world.send(OWNER, f"transferWithAuthorization({SIX},{BYTES})", *values) == reason


def test_a_paused_token_and_a_blacklisted_account_move_nothing(world):
    assert world.send(OWNER, "pause()") == ""
    assert world.authorized("transferWithAuthorization", world.message(), VRS) == "Pausable: paused"
    assert world.send(OWNER, "unpause()") == ""
    assert world.send(OWNER, "blacklist(address)", PAYEE.address) == ""
    refused = world.authorized("transferWithAuthorization", world.message(), VRS)
    assert refused == "Blacklistable: account is blacklisted"
    assert world.send(OWNER, "unBlacklist(address)", PAYEE.address) == ""
    assert world.authorized("transferWithAuthorization", world.message(), VRS) == ""


def test_warped_time_expires_an_authorization(world):
    message = world.message(validBefore=world.time + 50)
    world.chain.warp(100)
    refused = world.authorized("transferWithAuthorization", message, VRS)
    assert refused == "FiatTokenV2: authorization is expired"


def test_a_plain_transfer_emits_what_a_receipt_shows(world):
    done = world.token.transfer(PAYER, raw(PAYEE), 250)
    (moved,) = done.transfers
    assert (moved.sender, moved.to, moved.value) == (PAYER.address, PAYEE.address, 250)
    assert done.value == 250


def test_revert_data_that_is_not_words_is_shown_as_hex():
    assert revert_reason(bytes.fromhex("4e487b71")) == "0x4e487b71"
