"""Checks and settles x402 `exact` on the pretend Solana: what the specification says, to the letter.

Published facilitators take more than was asked; this one takes the amount itself. The order of the checks and the codes
are theirs. Source: x402 specification, scheme `exact` on SVM.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from solders.message import MessageV0, to_bytes_versioned
from solders.transaction import SanitizeError, VersionedTransaction

from ..ground import Facilitator, Settled, Settlement
from ..refusals import AMOUNTS, Refused, asked
from .chain import Failed
from .token import BUDGET, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022, address, ata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from solders.instruction import CompiledInstruction
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from .chain import Chain

__all__ = ["SolanaFacilitator"]

MAX_PRICE = 5_000_000  # micro-lamports for a compute unit
MAX_UNITS = 1_400_000
_P = "invalid_exact_svm_payload_"
_T = f"{_P}transaction_"
_I = f"{_T}instructions_"
_PLACES = ("fourth", "fifth", "sixth")


class Read(NamedTuple):
    """A proof: its transaction, and what its third instruction moves. `digest` is the message's hash."""

    tx: VersionedTransaction
    payer: str
    amount: int
    digest: bytes
    network: str


class SolanaFacilitator(Facilitator):
    """`exact` in versions 1 and 2. It signs slot 0 and pays the fee; a message is settled once."""

    def __init__(self, chain: Chain, key: Keypair, networks: Mapping[int, str]) -> None:
        super().__init__(networks)
        self._chain = chain
        self._key = key
        self._account = key.pubkey()
        self._address = str(self._account)

    @property
    def address(self) -> str:
        """The fee payer."""
        return self._address

    def supported(self) -> dict[str, Any]:
        """`extra.feePayer` says who has to stand in slot 0."""
        extra = {"feePayer": self._address}
        kinds = [{"x402Version": v, "scheme": "exact", "network": n, "extra": extra} for v, n in self._networks.items()]
        return {"kinds": kinds, "extensions": [], "signers": {"solana:*": [self._address]}}

    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Read:
        """Whether it would settle now; raises Refused."""
        read = self._read(version, payload, requirement)
        tried = self._chain.simulate(read.tx)
        if tried.err is not None:
            raise Refused("transaction_simulation_failed", str(Failed(tried.err)), read.payer)
        return read

    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Sign slot 0 and execute, once; raises Refused."""
        read = self._read(version, payload, requirement)
        ours = self._key.sign_message(to_bytes_versioned(read.tx.message))
        whole = VersionedTransaction.populate(read.tx.message, [ours, *read.tx.signatures[1:]])
        try:
            row = self._chain.execute(whole, read.digest, careful=True)
        except Failed as failed:
            raise Refused(_code(failed), str(failed), read.payer) from None
        made = Settlement(
            str(row.signature), read.payer, str(requirement["payTo"]), read.amount, read.digest.hex(), row.slot
        )
        self.settlements.append(made)
        return Settled(read.payer, read.network, read.amount, made)

    def _read(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Read:
        """A proof that has everything but the VM's own opinion; raises Refused."""
        self._terms(version, payload, requirement)
        tx = _decoded(payload)
        keys, steps = tx.message.account_keys, tx.message.instructions
        payer = self._layout(keys, steps)
        try:
            amount = _moved(keys, steps, requirement, asked(requirement, AMOUNTS[version]))
            return Read(tx, payer, amount, self._admitted(tx, keys), self._networks[version])
        except Refused as refused:
            raise Refused(refused.code, refused.words, payer) from None

    # -- what is checked ----------------------------------------------------------------------------------------------

    def _terms(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> None:
        stated = payload if version == 1 else payload.get("accepted")
        if not isinstance(stated, dict) or stated.get("scheme") != "exact" or requirement.get("scheme") != "exact":
            raise Refused("unsupported_scheme")
        if stated.get("network") != requirement.get("network"):
            raise Refused("network_mismatch")
        if requirement.get("network") != self._networks[version]:
            raise Refused("invalid_network", f"this chain is {self._networks[version]}")
        extra = requirement.get("extra")
        payer = extra.get("feePayer") if isinstance(extra, dict) else None
        if not isinstance(payer, str) or not payer:
            raise Refused(f"{_P}missing_fee_payer")
        if payer != self._address:
            raise Refused("fee_payer_not_managed_by_facilitator")

    def _layout(self, keys: list[Pubkey], steps: list[CompiledInstruction]) -> str:
        """Three to six instructions in their order, caps, and us in none of them; -> who pays."""
        if not 3 <= len(steps) <= 6:
            raise Refused(f"{_I}length")
        _budget(keys, steps)
        if keys[steps[2].program_id_index] not in (TOKEN, TOKEN_2022) or not _is_transfer(steps[2]):
            raise Refused(f"{_P}no_transfer_instruction")
        payer = str(keys[steps[2].accounts[3]])
        for place, step in zip(_PLACES, steps[3:], strict=False):
            if keys[step.program_id_index] not in (LIGHTHOUSE, MEMO):
                raise Refused(f"{_P}unknown_{place}_instruction", payer=payer)
        if keys[0] != self._account:
            raise Refused("fee_payer_not_managed_by_facilitator", "slot 0 is another's", payer)
        if any(0 in step.accounts for step in steps):
            raise Refused(f"{_T}fee_payer_transferring_funds", "the fee payer stands in an instruction", payer)
        return payer

    def _admitted(self, tx: VersionedTransaction, keys: list[Pubkey]) -> bytes:
        """The message's hash, once every signature but ours is there and a block would take it; raises Refused."""
        message = to_bytes_versioned(tx.message)
        needed = tx.message.header.num_required_signatures
        signed = (one.verify(key, message) for one, key in zip(tx.signatures[1:], keys[1:needed], strict=True))
        if not all(signed):
            raise Refused("transaction_simulation_failed", str(Failed("SignatureFailure")))
        try:
            return self._chain.admit(tx, signed=False)
        except Failed as failed:
            raise Refused(_code(failed), str(failed)) from None


def _code(failed: Failed) -> str:
    return "duplicate_settlement" if failed.err == "AlreadyProcessed" else "transaction_simulation_failed"


def _decoded(payload: Mapping[str, Any]) -> VersionedTransaction:
    """The transaction of a payload: version 0, without tables, every byte of it read; raises Refused."""
    inner = payload.get("payload")
    text = inner.get("transaction") if isinstance(inner, dict) else None
    if not isinstance(text, str):
        raise Refused("invalid_payload", "payload.transaction is base64")
    try:
        raw = base64.b64decode(text, validate=True)
        tx = VersionedTransaction.from_bytes(raw)
        tx.sanitize()
        message = tx.message
        whole = bytes(tx) == raw and isinstance(message, MessageV0) and not message.address_table_lookups
        whole = whole and len(tx.signatures) == message.header.num_required_signatures and len(raw) <= 1232
    except (binascii.Error, ValueError, SanitizeError):
        whole = False
    if not whole:
        raise Refused(f"{_T}could_not_be_decoded")
    return tx


def _budget(keys: list[Pubkey], steps: list[CompiledInstruction]) -> None:
    limit, price = bytes(steps[0].data), bytes(steps[1].data)
    if keys[steps[0].program_id_index] != BUDGET or len(limit) != 5 or limit[0] != 2:
        raise Refused(f"{_I}compute_limit_instruction")
    if not 0 < int.from_bytes(limit[1:], "little") <= MAX_UNITS:
        raise Refused(f"{_I}compute_limit_instruction")
    if keys[steps[1].program_id_index] != BUDGET or len(price) != 9 or price[0] != 3:
        raise Refused(f"{_I}compute_price_instruction")
    if int.from_bytes(price[1:], "little") > MAX_PRICE:
        raise Refused(f"{_I}compute_price_instruction_too_high")


def _is_transfer(step: CompiledInstruction) -> bool:
    """TransferChecked with one owner, who signs himself: four accounts and no more."""
    return len(step.data) == 10 and step.data[0] == 12 and len(step.accounts) == 4


def _memo(keys: list[Pubkey], steps: list[CompiledInstruction], wanted: object) -> None:
    if not wanted:
        return
    found = [bytes(each.data) for each in steps[3:] if keys[each.program_id_index] == MEMO]
    if len(found) != 1:
        raise Refused(f"{_P}memo_count")
    if found[0] != str(wanted).encode():
        raise Refused(f"{_P}memo_mismatch")


def _moved(keys: list[Pubkey], steps: list[CompiledInstruction], requirement: Mapping[str, Any], wanted: int) -> int:
    """What the transfer moves, when it is what was asked for; raises Refused."""
    _memo(keys, steps, requirement["extra"].get("memo"))
    program = keys[steps[2].program_id_index]
    _, mint, target, _ = (keys[each] for each in steps[2].accounts)
    if str(mint) != requirement.get("asset"):
        raise Refused(f"{_P}mint_mismatch")
    try:
        expected = ata(address(requirement.get("payTo")), mint, program)
    except ValueError as cause:
        raise Refused("invalid_payment_requirements", f"payTo: {cause}") from None
    if target != expected:
        raise Refused(f"{_P}recipient_mismatch")
    amount = int.from_bytes(bytes(steps[2].data)[1:9], "little")
    if amount != wanted:
        raise Refused(f"{_P}amount_insufficient" if amount < wanted else f"{_P}amount_mismatch")
    return amount
