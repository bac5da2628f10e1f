"""The sandbox's USDC at the real Base Sepolia address: its calls as bytes, and nothing about who may pay whom."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ..assets import asset, network
from ..primitives import keccak, recover
from .evm import NETWORK, revert_reason

if TYPE_CHECKING:
    from ..model import Asset
    from ..primitives import EvmKey
    from .evm import Chain
    from .transactions import Transaction

__all__ = ["Authorization", "Token", "artifact", "raw_address", "selector", "signer_of", "tail", "usdc", "word"]


class Authorization(NamedTuple):
    """TransferWithAuthorization (EIP-3009): addresses and nonce as bytes, `value` in atomic units, times in seconds."""

    sender: bytes
    to: bytes
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes

    def words(self) -> bytes:
        """The six fields as ABI words, in the order of the type."""
        numbers = word(self.value) + word(self.valid_after) + word(self.valid_before)
        return word(self.sender) + word(self.to) + numbers + self.nonce


@cache
def usdc() -> Asset:
    """USDC on Base Sepolia, as the closed table has it."""
    where = network(NETWORK)
    found = asset(where, "0x036CbD53842c5426634e7929541eC2318f3dCF7e") if where else None
    if found is None:
        raise LookupError("assets.toml has no USDC on Base Sepolia")
    return found


@cache
def artifact(contract: str) -> dict[str, object]:
    """What tools/compile_contracts.js made of a contract: `runtime`, `abi`, `compiler`."""
    text = (files(__package__) / "contracts" / f"{contract}.json").read_text("utf-8")
    made: dict[str, object] = json.loads(text)
    return made


@cache
def selector(signature: str) -> bytes:
    """The first four bytes of keccak over `name(type,...)`."""
    return keccak(signature.encode())[:4]


@lru_cache(maxsize=64)
def signer_of(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address that signed; raises ValueError. A payment is verified and settled within a moment, so the last few are known."""
    return recover(digest, signature)


def word(value: int | bytes) -> bytes:
    """One 32-byte ABI word: a number, or bytes (an address) right-aligned."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def tail(data: bytes) -> bytes:
    """ABI `bytes`: the length, then the data padded to whole words."""
    return word(len(data)) + data.ljust(-(-len(data) // 32) * 32, b"\0")


_TYPES = "address,address,uint256,uint256,uint256,bytes32"
_SPLIT = f"transferWithAuthorization({_TYPES},uint8,bytes32,bytes32)"
_BYTES = f"transferWithAuthorization({_TYPES},bytes)"


class Token:
    """The USDC contract on one chain. `owner` may mint."""

    def __init__(self, chain: Chain, owner: EvmKey) -> None:
        self.asset = usdc()
        self.address = bytes.fromhex(self.asset.address[2:])
        self._chain = chain
        self._owner = owner
        chain.install(self.address, bytes.fromhex(str(artifact("SandboxUSDC")["runtime"])[2:]))
        name, version = self.asset.eip712 or ("", "")
        texts = [tail(each.encode()) for each in (name, self.asset.symbol, version)]
        offsets = [4 * 32 + sum(map(len, texts[:i])) for i in range(3)]
        arguments = b"".join(map(word, (*offsets, self.asset.decimals))) + b"".join(texts)
        self.send(owner, "initialize(string,string,string,uint8)", arguments)

    def send(self, key: EvmKey, signature: str, arguments: bytes) -> Transaction:
        """Mine a call of the token, signed by `key`."""
        return self._chain.send(key, self.address, selector(signature) + arguments)

    def view(self, signature: str, arguments: bytes = b"") -> bytes:
        """The returned bytes of a call that changes nothing; raises LookupError when it reverts."""
        ran = self._chain.call(self.address, selector(signature) + arguments)
        if not ran.ok:
            raise LookupError(revert_reason(ran.output))
        return ran.output

    def balance(self, holder: bytes) -> int:
        """Atomic units held by an address."""
        return int.from_bytes(self.view("balanceOf(address)", word(holder)))

    def used(self, authorizer: bytes, nonce: bytes) -> bool:
        """Whether an authorisation's nonce is used or cancelled (EIP-3009 authorizationState)."""
        return self.view("authorizationState(address,bytes32)", word(authorizer) + nonce)[-1] == 1

    def domain_separator(self) -> bytes:
        """The EIP-712 domain separator, as the contract computes it."""
        return self.view("DOMAIN_SEPARATOR()")

    def mint(self, to: bytes, value: int) -> Transaction:
        """New units for an address."""
        return self.send(self._owner, "mint(address,uint256)", word(to) + word(value))

    def approve(self, key: EvmKey, spender: bytes, value: int) -> Transaction:
        """Allow `spender` to move up to `value` atomic units of the key's address (ERC-20)."""
        return self.send(key, "approve(address,uint256)", word(spender) + word(value))

    def allowance(self, holder: bytes, spender: bytes) -> int:
        """Atomic units that `spender` may still move (ERC-20)."""
        return int.from_bytes(self.view("allowance(address,address)", word(holder) + word(spender)))

    def transfer(self, key: EvmKey, to: bytes, value: int) -> Transaction:
        """A plain ERC-20 transfer from the key's address."""
        return self.send(key, "transfer(address,uint256)", word(to) + word(value))

    def call_data(self, authorization: Authorization, signature: bytes) -> bytes:
        """The call of transferWithAuthorization: as v, r, s for 65 bytes, else as bytes for a contract wallet."""
        head = authorization.words()
        if len(signature) == 65:
            r, s, v = signature[:32], signature[32:64], signature[64]
            return selector(_SPLIT) + head + word(v) + r + s
        return selector(_BYTES) + head + word(7 * 32) + tail(signature)


def raw_address(text: object) -> bytes:
    """The 20 bytes of 0x + 40 hex digits; raises ValueError."""
    if not isinstance(text, str) or len(text) != 42 or text[:2] != "0x":
        raise ValueError("an address is 0x and 40 hex digits")
    return bytes.fromhex(text[2:])
