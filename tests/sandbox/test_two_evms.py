"""Random days on both EVMs and in a few lines of Python: three times the same balances, allowances and refusals."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent.primitives import EvmKey
from x402_agent.sandbox.evm import Chain
from x402_agent.sandbox.permit2 import EXACT_PROXY, PERMIT2, UPTO_PROXY, Permit, Permit2
from x402_agent.sandbox.token import Token

START = 1_800_000_000
KEYS = [EvmKey(bytes((n,)) * 32) for n in (1, 2, 3)]
RAW = [bytes.fromhex(key.address[2:]) for key in KEYS]
WHO = st.integers(0, 2)
AMOUNT = st.integers(0, 40) | st.sampled_from([0, 1, 2**256 - 1])
STEPS = st.one_of(
    st.tuples(st.just("transfer"), WHO, WHO, AMOUNT),
    st.tuples(st.just("approve"), WHO, AMOUNT),
    st.tuples(st.just("wait"), st.integers(0, 40)),
    st.tuples(st.just("exact"), WHO, WHO, WHO, AMOUNT, st.integers(0, 3), st.integers(0, 60), st.integers(0, 30)),
    st.tuples(st.just("upto"), WHO, WHO, WHO, AMOUNT, st.integers(0, 3), st.integers(0, 60), st.integers(0, 30), WHO, AMOUNT),
)  # fmt: skip


class Real:
    """The contracts on one EVM."""

    def __init__(self, backend):
        self.now = START
        self.chain = Chain(lambda: self.now, backend)
        self.token, self.permit2 = Token(self.chain, KEYS[0]), Permit2(self.chain)
        for each in RAW:
            self.token.mint(each, 50)

    def transfer(self, sender, to, amount):
        return self.token.transfer(KEYS[sender], RAW[to], amount).reason

    def approve(self, owner, amount):
        return self.token.approve(KEYS[owner], PERMIT2, amount).reason

    def wait(self, seconds):
        self.now += seconds
        return ""

    def settle(self, permit, owner, sender, amount):
        made = KEYS[owner].sign(permit.digest())
        return self.chain.send(KEYS[sender], *permit.settlement(made, amount)).reason

    def state(self):
        return [self.token.balance(each) for each in RAW], [self.token.allowance(each, PERMIT2) for each in RAW]


class Thought:
    """What ought to happen."""

    def __init__(self):
        self.now, self.balances, self.allowed, self.used = START, [50] * 3, [0] * 3, set()

    def transfer(self, sender, to, amount):
        if self.balances[sender] < amount:
            return "ERC20: transfer amount exceeds balance"
        self.balances[sender] -= amount
        self.balances[to] += amount
        return ""

    def approve(self, owner, amount):
        self.allowed[owner] = amount
        return ""

    def wait(self, seconds):
        self.now += seconds
        return ""

    def settle(self, permit, owner, sender, amount):
        if permit.facilitator and amount > permit.value:
            return "AmountExceedsPermitted"
        if permit.facilitator and permit.facilitator != RAW[sender]:
            return "UnauthorizedFacilitator"
        if amount == 0:
            return "InvalidAmount"
        if self.now < permit.valid_after:
            return "PaymentTooEarly"
        if self.now > permit.valid_before:
            return "SignatureExpired"
        if (owner, permit.nonce) in self.used:
            return "InvalidNonce"
        if self.allowed[owner] < amount or self.balances[owner] < amount:
            return "TRANSFER_FROM_FAILED"
        self.used.add((owner, permit.nonce))
        if self.allowed[owner] != 2**256 - 1:
            self.allowed[owner] -= amount
        return self.transfer(owner, RAW.index(permit.to), amount)

    def state(self):
        return self.balances, self.allowed


def play(world, step):
    name, *rest = step
    if name not in ("exact", "upto"):
        return getattr(world, name)(*rest)
    owner, to, sender, value, nonce, until, after, *upto = rest
    facilitator, amount = (RAW[upto[0]], upto[1]) if upto else (b"", value)
    spender, number = UPTO_PROXY if upto else EXACT_PROXY, nonce.to_bytes(32, "big")
    token = bytes.fromhex("036CbD53842c5426634e7929541eC2318f3dCF7e")
    permit = Permit(RAW[owner], RAW[to], value, START + after, START + until, number, token, spender, facilitator)
    return world.settle(permit, owner, sender, amount)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_three_worlds_agree(steps):
    worlds = [Thought(), Real("pyrevm"), Real("py-evm")]
    for step in steps:
        assert len({play(world, step) for world in worlds}) == 1
    thought, *real = (world.state() for world in worlds)
    assert [each == thought for each in real] == [True, True]
    assert sum(thought[0]) == 150
