"""USDT, PaymentPermit, Permit2 and its exact proxy at Nile's addresses: what is signed for them, and the calls that settle it.

Sources: the interface of the PaymentPermit contract, Permit2's SignatureTransfer, x402 schemes `exact_permit` and `exact`
on TRON. Addresses are 20 bytes; in TIP-712 they are signed as such, without the prefix 0x41.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ...assets import asset, network
from ...encodings import unbase58check
from ...primitives import keccak
from ..token import artifact, selector, tail, word
from .chain import CHAIN_ID, NETWORK

if TYPE_CHECKING:
    from ...model import Asset
    from ...primitives import EvmKey
    from .chain import Chain, Mined

__all__ = ["EXACT_PROXY", "PAYMENT_PERMIT", "PERMIT2", "Contracts", "Permit", "Permit2", "raw_address", "usdt"]


def raw_address(text: object) -> bytes:
    """The 20 bytes of a T... address; raises ValueError for another spelling or a wrong checksum."""
    raw = unbase58check(text) if isinstance(text, str) and len(text) == 34 else b""
    if len(raw) != 21 or raw[:1] != b"\x41":
        raise ValueError("a TRON address is T and 33 letters and digits of base58check")
    return raw[1:]


PAYMENT_PERMIT = raw_address("TFxDcGvS7zfQrS1YzcCMp673ta2NHHzsiH")
PERMIT2 = raw_address("TYQuuhGbEMxF7nZxUHV3uHJxAVVAegNU9h")
EXACT_PROXY = raw_address("TFGoaq2KjizijgjtkVxT7yjffW1A5T1j6F")
_USDT = "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"
_INSTALLED = {
    PAYMENT_PERMIT: "SandboxPaymentPermit",
    PERMIT2: "SandboxPermit2",
    EXACT_PROXY: "SandboxTronExactProxy",
}
_META = "PermitMeta(uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore)"
_PAYMENT = "Payment(address payToken,uint256 payAmount,address payTo)"
_FEE = "Fee(address feeTo,uint256 feeAmount)"
_DETAILS = f"PaymentPermitDetails(PermitMeta meta,address buyer,address caller,Payment payment,Fee fee){_FEE}{_PAYMENT}{_META}"
_SETTLE_PERMIT = (
    "permitTransferFrom(((uint8,bytes16,uint256,uint256,uint256),address,address,"
    "(address,uint256,address),(address,uint256)),address,bytes)"
)
_TOKEN = "TokenPermissions(address token,uint256 amount)"
_WITNESS = "Witness(address to,uint256 validAfter)"
_STUB = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)"
_SETTLE_EXACT = "settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)"


@cache
def usdt() -> Asset:
    """USDT on Nile, as the closed table has it."""
    where = network(NETWORK)
    found = asset(where, _USDT) if where else None
    if found is None:
        raise LookupError("assets.toml has no USDT on TRON's Nile")
    return found


def _words(*values: int | bytes) -> bytes:
    return b"".join(map(word, values))


@cache
def _type(kind: str) -> bytes:
    return keccak(kind.encode())


def _hash(kind: str, *values: int | bytes) -> bytes:
    return keccak(_type(kind) + _words(*values))


@cache
def _domain(name: str, contract: bytes) -> bytes:
    return _hash("EIP712Domain(string name,uint256 chainId,address verifyingContract)", keccak(name.encode()), CHAIN_ID, contract)


def _typed(name: str, contract: bytes, body: bytes) -> bytes:
    return keccak(b"\x19\x01" + _domain(name, contract) + body)


class Permit(NamedTuple):
    """PaymentPermitDetails of the scheme `exact_permit`: amounts in atomic units, times in unix seconds."""

    payment_id: bytes
    nonce: int
    valid_after: int
    valid_before: int
    buyer: bytes
    caller: bytes
    token: bytes
    amount: int
    to: bytes
    fee_to: bytes
    fee: int

    def digest(self) -> bytes:
        """The 32 bytes to sign (TIP-712; PaymentPermit's domain has no version)."""
        padded = self.payment_id.ljust(32, b"\0")
        meta = _hash(_META, 0, padded, self.nonce, self.valid_after, self.valid_before)
        payment = _hash(_PAYMENT, self.token, self.amount, self.to)
        body = _hash(_DETAILS, meta, self.buyer, self.caller, payment, _hash(_FEE, self.fee_to, self.fee))
        return _typed("PaymentPermit", PAYMENT_PERMIT, body)

    def settlement(self, signature: bytes) -> tuple[bytes, bytes]:
        """The contract to call, and the call that moves the amount and the fee."""
        padded = self.payment_id.ljust(32, b"\0")
        meta = (0, padded, self.nonce, self.valid_after, self.valid_before)
        money = (self.token, self.amount, self.to, self.fee_to, self.fee)
        head = (*meta, self.buyer, self.caller, *money, self.buyer, 14 * 32)
        return PAYMENT_PERMIT, selector(_SETTLE_PERMIT) + _words(*head) + tail(signature)


class Permit2(NamedTuple):
    """PermitWitnessTransferFrom of the scheme `exact`: amounts in atomic units, times in unix seconds."""

    nonce: int
    valid_after: int
    valid_before: int
    buyer: bytes
    spender: bytes
    token: bytes
    amount: int
    to: bytes

    def digest(self) -> bytes:
        """The 32 bytes to sign (TIP-712; Permit2's domain has no version)."""
        permitted = _hash(_TOKEN, self.token, self.amount)
        witness = _hash(_WITNESS, self.to, self.valid_after)
        body = _hash(_STUB + _TOKEN + _WITNESS, permitted, self.spender, self.nonce, self.valid_before, witness)
        return _typed("Permit2", PERMIT2, body)

    def settlement(self, signature: bytes) -> tuple[bytes, bytes]:
        """The proxy to call, and the call that moves the whole amount."""
        head = (self.token, self.amount, self.nonce, self.valid_before, self.buyer, self.to, self.valid_after, 8 * 32)
        return EXACT_PROXY, selector(_SETTLE_EXACT) + _words(*head) + tail(signature)


class Contracts:
    """The contracts on one chain. `owner` may mint; its TRX pay for it."""

    def __init__(self, chain: Chain, owner: EvmKey) -> None:
        self.asset = usdt()
        self.token = raw_address(self.asset.address)
        self._chain = chain
        self._owner = owner
        for address, contract in {**_INSTALLED, self.token: "SandboxTetherTRC20"}.items():
            chain.install(address, bytes.fromhex(str(artifact(contract)["runtime"])[2:]))
        name, symbol = tail(b"Tether USD"), tail(self.asset.symbol.encode())
        offsets = word(3 * 32) + word(3 * 32 + len(name)) + word(self.asset.decimals)
        self.send(owner, "initialize(string,string,uint8)", offsets + name + symbol)

    def send(self, key: EvmKey, signature: str, arguments: bytes) -> Mined:
        """Mine a call of the token, signed by `key`; raises Rejected when the key's account cannot pay for it."""
        return self._chain.send(key, self.token, selector(signature) + arguments)

    def mint(self, to: bytes, value: int) -> Mined:
        """New units for an address."""
        return self.send(self._owner, "mint(address,uint256)", word(to) + word(value))

    def approve(self, key: EvmKey, spender: bytes, value: int) -> Mined:
        """Allow `spender` to move up to `value` atomic units of the key's address."""
        return self.send(key, "approve(address,uint256)", word(spender) + word(value))

    def transfer(self, key: EvmKey, to: bytes, value: int) -> Mined:
        """A plain TRC-20 transfer from the key's address."""
        return self.send(key, "transfer(address,uint256)", word(to) + word(value))

    def balance(self, holder: bytes) -> int:
        """Atomic units held by an address."""
        return self._view(self.token, "balanceOf(address)", holder)

    def allowance(self, holder: bytes, spender: bytes) -> int:
        """Atomic units that `spender` may still move."""
        return self._view(self.token, "allowance(address,address)", holder, spender)

    def used(self, contract: bytes, owner: bytes, nonce: int) -> bool:
        """Whether a nonce of PaymentPermit or Permit2 is spent: bit `nonce % 256` of word `nonce // 256`."""
        return bool(self._view(contract, "nonceBitmap(address,uint256)", owner, nonce >> 8) >> (nonce & 255) & 1)

    def _view(self, contract: bytes, signature: str, *arguments: int | bytes) -> int:
        ran, _ = self._chain.call(contract, selector(signature) + _words(*arguments))
        return int.from_bytes(ran.output)
