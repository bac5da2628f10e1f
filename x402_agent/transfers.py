"""A transfer of our own at a person's command, on every chain by the same doors that a payment goes through; on TRON approve, too.

`refuses`, `prepare`, `terms`, `prove`, `broadcast`, `lookup` and `fate` of the method `transfer`: no chain is known here. What the
ledger must know it knows before a byte leaves: the proof with its terms is the row's `raw`, so what is in doubt goes out again
as it is, without a key. Generators of steps, driven by `fetch.drive`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .assets import asset_by_id
from .errors import (
    LedgerError,
    NoAcceptableOffer,
    NodeError,
    PaymentInDoubt,
    PaymentRefused,
    PolicyDenied,
    SettingsError,
    SigningFailed,
)
from .flow import PAYS_FIRST
from .ledger import Transaction
from .model import NO_ANCHOR, Anchor, ChainRules, Money, Offer, Proof, Terms
from .payer.kit import digest
from .policy.fees import gas_of
from .secret import Secret
from .steps import Progress, Sleep, Walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Asset, Network
    from .payer import Payer
    from .steps import Steps

__all__ = ["KIND", "Planned", "allow", "everything", "follow", "ours", "plan", "plan_allowance", "send"]

KIND = "transfer"
_METHODS = {KIND: PAYS_FIRST, "approve": "approve", "revoke": "approve"}
_HINT = "x402-agent resume {}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What a transfer would do: its offer, who pays it, what he has of the asset, what stays with him for payments in doubt, and
    what the chain said. Amounts in atomic units, `cost` the most that the network takes, of its own coin. Of an approve or revoke
    `had` is what is allowed on chain, and `mark` the ledger's, from before the chain was read."""  # fmt: skip

    offer: Offer
    owner: str
    had: int
    kept: int
    anchor: Anchor
    mark: int = 0

    @property
    def kind(self) -> str:
        """`transfer`, `approve` or `revoke`."""
        return KIND if self.offer.method == PAYS_FIRST else "approve" if self.offer.amount else "revoke"

    @property
    def enough(self) -> bool:
        """Whether the chain already shows what is wanted: then nothing is sent."""
        return {"approve": self.had >= self.offer.amount, "revoke": not self.had}.get(self.kind, False)

    @property
    def cost(self) -> int:
        """The most that it can take of the network's coin."""
        return self.anchor.cost


def plan(payer: Payer, asset: Asset, to: str, amount: int, *, max_fee: int, kept: int = 0) -> Steps[Planned]:
    """What it takes to send `amount` atomic units to `to`, for `max_fee` units of the network's coin at most. Nothing is signed.

    Raises SigningFailed for a recipient that is no account to pay (R1, R2) and for more than the account has, PolicyDenied and
    BudgetExceeded for what it would cost (C8), NoAcceptableOffer, NodeError, SettingsError.
    """
    where, chain = asset.network, _chain(payer, asset.network)
    node, owner = _node(payer, where), payer.wallet.address(where.namespace)
    offer = Offer("own", PAYS_FIRST, asset, amount, to, payer.policy.max_lifetime, method=PAYS_FIRST)
    if reason := chain.refuses(offer, owner):
        raise SigningFailed(f"nothing is sent to {to[:60]!r}: {reason}", rule="recipients (R1, R2)")
    had: int = yield from chain.balance(asset, owner, node)
    if had < amount:
        raise SigningFailed(f"{owner} has {Money(had, asset)}, not {Money(amount, asset).text}", rule="balance on chain", hint=f"x402-agent wallet fund --network {where.name}")
    rules = ChainRules(fees={where.namespace: max_fee})
    anchor: Anchor = yield from chain.prepare(offer, owner, node, rules)
    payer.ledger.afford(where.id, anchor.cost, gas_of(payer.policy, where, anchor.cost))
    return Planned(offer, owner, had, kept, anchor)


def plan_allowance(payer: Payer, asset: Asset, spender: str, amount: int, *, max_fee: int) -> Steps[Planned]:
    """What it takes that `spender` may take `amount` atomic units, 0 to revoke. Nothing is signed.

    Raises SigningFailed for a spender or token that is not pinned, and what `plan` raises.
    """
    where, chain = asset.network, _chain(payer, asset.network, "approve")
    node, owner = _node(payer, where), payer.signer(where.namespace).address(where.namespace)
    offer = Offer("own", "approve", asset, amount, spender, payer.policy.max_lifetime, method="approve")
    if reason := chain.refuses(offer, owner):
        raise SigningFailed(f"nothing is allowed to {spender[:60]!r}: {reason}", rule="allowances (D3)")
    mark = payer.ledger.mark(where.id, asset.address, owner)
    had: int = yield from chain.allowed(offer, owner, node)
    made = Planned(offer, owner, had, 0, NO_ANCHOR, mark)
    if made.enough:
        return made
    anchor: Anchor = yield from chain.prepare(offer, owner, node, ChainRules(fees={where.namespace: max_fee}))
    payer.ledger.afford(where.id, anchor.cost, gas_of(payer.policy, where, anchor.cost))
    return replace(made, anchor=anchor)


def allow(payer: Payer, made: Planned, *, patience: float, say: Callable[[str], None]) -> Steps[Transaction | None]:
    """Approve or revoke as planned. -> None when the chain already showed what is wanted; raises what `send` raises.

    What is taken back counts for no offer from now on, whatever the chain still shows.
    """
    offer, where = made.offer, made.offer.network
    if made.kind == "revoke":
        payer.ledger.allow(where.id, offer.asset.address, made.owner, offer.pay_to, 0, mark=made.mark).run()
    if made.enough:
        payer.ledger.allow(where.id, offer.asset.address, made.owner, offer.pay_to, min(made.had, offer.amount), mark=made.mark).run()
        return None
    return (yield from send(payer, made, patience=patience, say=say))


def ours(row: Transaction) -> bool:
    """Whether a row is followed here: EVM's approve and revoke are `broadcast`'s."""
    return row.kind == KIND or not row.network.startswith("eip155:")


def everything(payer: Payer, asset: Asset, to: str, *, max_fee: int) -> Steps[Planned]:
    """The transfer of all that no open payment may still take; of a coin without what this one and those may cost.

    Raises PolicyDenied when nothing is left, and what `plan` raises.
    """
    where, chain = asset.network, _chain(payer, asset.network)
    owner = payer.wallet.address(where.namespace)
    had: int = yield from chain.balance(asset, owner, _node(payer, where))
    kept = getattr(chain, "keeps", 0) if asset.native else 0
    for hold in payer.ledger.open_payments():
        if hold.terms.payer == owner and hold.offer.network is where:
            kept += hold.offer.money.amount if hold.offer.asset is asset else 0
            kept += hold.terms.anchor.cost if asset.native else 0
    room, spare, why = had - kept, [0], None
    if room > 0 and asset.native:
        first = yield from plan(payer, asset, to, max(1, room // 2), max_fee=max_fee)
        spare = [first.cost * 5 // 4, first.cost * 20, max_fee]  # a price may rise until the second look, and some chains want more in hand
    for each in spare:
        if room <= each:
            break
        try:
            return (yield from plan(payer, asset, to, room - each, max_fee=max_fee, kept=kept))
        except NoAcceptableOffer as short:
            why = short
    raise why or PolicyDenied(f"{owner} has {Money(had, asset)}, of which fees and payments in doubt may take {Money(kept, asset).text}",
                              rule="nothing is left to send", hint="x402-agent resume")  # fmt: skip


def send(payer: Payer, made: Planned, *, patience: float, say: Callable[[str], None]) -> Steps[Transaction]:
    """Do what was planned. -> the transaction as the ledger has it, MINED or CONFIRMED.

    Raises PaymentInDoubt when `patience` (seconds) ends before a block shows it, and when an earlier one of this account is still
    in doubt; PaymentRefused when it failed or can never be mined; SigningFailed, NodeError, LedgerError, BudgetExceeded.
    """
    where = made.offer.network
    for row in payer.ledger.transactions(open_only=True):
        if (row.network, row.account, row.state) == (where.id, made.owner, "INFLIGHT"):
            raise PaymentInDoubt(f"the earlier transaction {row.txid} is still without a receipt; nothing new was signed",
                                 rule="one at a time", hint=_HINT.format(row.txid[:12]))  # fmt: skip
    row = _build(payer, made)
    say(f"written down: {row.txid}")
    row, words = yield from follow(payer, row, patience, say)
    if row.state == "INFLIGHT":
        raise PaymentInDoubt(f"no receipt of {row.txid} after {patience:.0f} s{': ' + words if words else ''}",
                             rule="the same bytes go out again, never others (C5)", hint=_HINT.format(row.txid[:12]))  # fmt: skip
    if row.state in ("REVERTED", "DEAD"):
        raise PaymentRefused(f"{row.txid} {row.note}", rule=where.name, hint=where.link(row.txid))
    return row


def _build(payer: Payer, made: Planned) -> Transaction:
    """Sign, under the next account nonce where its chain counts them, and write it down; when another process was faster, anew."""
    offer, where, chain = made.offer, made.offer.network, _chain(payer, made.offer.network, made.kind)
    for _ in range(20):
        anchor = made.anchor
        if anchor.number >= 0:
            anchor = anchor._replace(number=payer.ledger.next_nonce(where.id, made.owner, anchor.number))
        terms = chain.terms(offer, made.owner, now=int(payer.clock()), nonce=payer.nonce(), max_lifetime=payer.policy.max_lifetime, anchor=anchor)
        proof: Proof = chain.prove(offer, terms, payer.signer(where.namespace, made.owner))
        number = anchor.number if anchor.number >= 0 else -1 - int(terms.nonce[2:16], 16)  # no two share one
        row = Transaction(str(proof.payload["transaction"]), where.id, made.owner, number, made.kind, offer.asset.id, offer.pay_to, offer.amount, 1,
                          anchor.cost, _packed(offer, terms, proof))  # fmt: skip
        if payer.ledger.build(row, made.anchor.number if anchor.number >= 0 else number, gas_of(payer.policy, where, anchor.cost)):
            return row
    raise LedgerError("other processes take every account nonce", rule="one account nonce, one transaction (C6)", hint="try again, once they are done")


def _packed(offer: Offer, terms: Terms, proof: Proof) -> bytes:
    """What a row keeps: the proof's payload, which is public once broadcast, and the terms that its chain knows it again by."""
    kept = {"payload": dict(proof.payload), "nonce": terms.nonce, "payer": terms.payer, "after": terms.valid_after, "before": terms.valid_before,
            "anchor": terms.anchor, "lifetime": offer.lifetime, "proved": digest(proof), "txid": proof.txid}  # fmt: skip
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def _unpacked(row: Transaction) -> tuple[Offer, Terms, Proof]:
    """The same again; raises SettingsError for an asset that left the table."""
    asset, kept = asset_by_id(row.asset), json.loads(row.raw)
    if asset is None:
        raise SettingsError(f"{row.asset} left the table", rule="what is not in assets.toml is never asked for", hint="install the release of x402-agent-sdk that wrote it")
    method = _METHODS[row.kind]
    offer = Offer("own", method, asset, row.amount, row.party, kept["lifetime"], method=method)
    terms = Terms(kept["payer"], kept["nonce"], kept["after"], kept["before"], Anchor(*kept["anchor"]), kept["proved"])
    return offer, terms, Proof(kept["payload"], terms.payer, terms.nonce, terms.valid_before, kept["txid"])


def follow(payer: Payer, row: Transaction, patience: float, say: Callable[[str], None] = lambda _: None) -> Steps[tuple[Transaction, str]]:
    """Hand its bytes to nodes until its chain shows them, for `patience` seconds. -> the row as it stands now, and last words.

    Nothing is signed. What ends it unpaid needs the word of every node (C2). Raises SettingsError, LedgerError.
    """
    offer, terms, proof = _unpacked(row)
    chain, node, words, fee = _chain(payer, offer.network, row.kind), _node(payer, offer.network), "", row.fee_paid
    row, stands = payer.ledger.launch(row.txid), ""
    walk = Walk(_within(chain.broadcast(offer, terms, proof, node), patience))
    try:
        for step in walk:
            try:
                if isinstance(step, Progress):
                    fee, stands = step.fee if step.fee is not None else fee, step.state
                    say(f"{step.state.lower()}: {step.words}")
                else:
                    walk.got = yield step
            except BaseException as why:
                walk.failed = why
        state = "MINED"
    except NodeError as why:
        state, words = row.state, why.what
    except PaymentInDoubt as why:
        state, words = "MINED" if stands == "MINED" else row.state, why.what
    if (yield from chain.lookup(offer, terms, row.txid, node)) == "paid":
        state = "CONFIRMED"
    elif state == "INFLIGHT" or words:
        state = _FATES.get((yield from chain.fate(offer, terms, node)), state)
    if row.kind != KIND and row.state == "INFLIGHT" and state in ("MINED", "CONFIRMED"):
        try:
            yield from _allowed(payer, chain, offer, row, node)
        except NodeError as why:  # it stays as it is, and is looked at again
            state, words = row.state, why.what
    note = {"DEAD": "can never be mined", "REVERTED": "was mined and moved nothing"}.get(state, "")
    if state in ("CONFIRMED", "REVERTED", "DEAD"):
        say(f"{state.lower()}; fee {offer.network.coins(fee or 0)}")
    return payer.ledger.follow(row.txid, state, fee=fee, note=note), words


def _allowed(payer: Payer, chain: Any, offer: Offer, row: Transaction, node: Secret) -> Steps[None]:
    """Record what the chain shows to be allowed by now, never more than was approved."""
    where, token = offer.network.id, offer.asset.address
    mark = payer.ledger.mark(where, token, row.account)
    now: int = yield from chain.allowed(offer, row.account, node)
    payer.ledger.allow(where, token, row.account, row.party, min(now, row.amount), row.txid, mark).run()


_FATES = {"settled": "MINED", "dead": "DEAD", "failed": "REVERTED"}


def _within(steps: Steps[None], patience: float) -> Steps[None]:
    """The same steps, given up once they have slept for so many seconds."""
    walk, waited = Walk(steps), 0.0
    for step in walk:
        if isinstance(step, Sleep) and (waited := waited + step.seconds) > patience:
            raise PaymentInDoubt(f"it is in no block that stands after {patience:.0f} s")
        try:
            walk.got = yield step
        except BaseException as why:
            walk.failed = why


def _chain(payer: Payer, where: Network, kind: str = KIND) -> Any:
    """The doors of its chain for this kind of transaction."""
    chain: Any = payer.chains.get(where.namespace)
    if kind != KIND and hasattr(chain, "allowing"):
        return chain.allowing()
    if kind != KIND or chain is None or not hasattr(chain, "broadcast"):
        raise SettingsError(f"nothing is sent on {where.name} by itself", rule="chains that pay first", hint="another network")
    return chain


def _node(payer: Payer, where: Network) -> Secret:
    if not len(found := Secret(payer.settings.nodes.get(where.id, ""))):
        raise SettingsError(f"no node of {where.name} is known", rule="X402_AGENT_NODES", hint=f"export X402_AGENT_NODES={where.name}=https://…")
    return found
