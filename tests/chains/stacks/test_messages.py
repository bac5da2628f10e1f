"""Signing in: the vectors of SIP-018, and a plain message as wallets of Stacks sign it."""

from __future__ import annotations

import pytest

from x402_agent.chains.stacks import Value, messages
from x402_agent.errors import SigningFailed
from x402_agent.wallet import KeySigner

KEY = "753b7cc01a1a2e86221266a154af739463fce51219d97e4f856cd7200c3bd2a6"
ACCOUNT = "SP24GYRG3M7T0S6FZE9RVVP9PNNZQJQ614650G590"
DOMAIN = Value("tuple", {
    "name": Value("ascii", "Test App"), "version": Value("ascii", "1.0.0"), "chain-id": Value("uint", 1),
})  # fmt: skip
SIP018 = [  # SIP-018, "Test Vectors"
    (
        Value("ascii", "Hello World"),
        "1bfdab6d4158313ce34073fbb8d6b0fc32c154d439def12247a0f44bb2225259",
        "8b94e45701d857c9f1d1d70e8b2ca076045dae4920fb0160be0642a68cd78de072ab527b5c5277a593baeb2a8b657c216b99f7abb5d14af35b4bf12ba6460ba401",
    ),
]


@pytest.mark.parametrize("message, digest, signature", SIP018)
def test_sip018(message, digest, signature):
    signer = KeySigner(KEY, "stacks")
    made = messages.structured_digest(DOMAIN, message)
    assert made.hex() == digest
    signed = messages.sign(made, signer)
    assert signed.hex() == signature
    assert messages.verify(made, signed, signer.address("stacks"))


def test_a_message_is_verified_by_its_signer_alone():
    signer, other = KeySigner(KEY, "stacks"), KeySigner("01" * 32, "stacks")
    digest = messages.plain_digest("sign in to example.com")
    signed = messages.sign(digest, signer)
    assert messages.verify(digest, signed, signer.address("stacks"))
    assert not messages.verify(digest, signed, other.address("stacks"))
    assert not messages.verify(messages.plain_digest("sign in to example.org"), signed, signer.address("stacks"))
    assert not messages.verify(digest, signed[:64], signer.address("stacks"))
    assert not messages.verify(digest, signed, "SP")


@pytest.mark.parametrize("size", [0, 1, 0xFC, 0xFD, 0xFFFF, 0x10000])
def test_lengths_are_written_as_bitcoin_does(size):
    assert len({messages.plain_digest("m" * size), messages.plain_digest("m" * (size + 1))}) == 2


@pytest.mark.parametrize("domain", [
    Value("ascii", "Test App"), Value("tuple", {}), Value("tuple", {**DOMAIN.value, "more": Value("uint", 1)}),
    Value("tuple", {**DOMAIN.value, "chain-id": Value("int", 1)}),
])  # fmt: skip
def test_another_domain_is_refused(domain):
    with pytest.raises(ValueError, match="chain-id"):
        messages.structured_digest(domain, Value("uint", 1))


def test_a_signer_that_gives_no_signature():
    class Odd:
        def sign_digest(self, namespace, digest):
            return bytes(65)

    with pytest.raises(SigningFailed, match="r, s and v"):
        messages.sign(bytes(32), Odd())
