"""Reading a 402 and paying it loads no Ethereum framework and leaves the interpreter as it was (row Q1)."""

from __future__ import annotations

import subprocess
import sys
import textwrap

CODE = """
    import sys
    limit = sys.getrecursionlimit()
    import json
    from x402_agent.chains import builtin as chains
    from x402_agent.dialects import builtin as dialects
    from x402_agent.model import Ask, Hold
    from x402_agent.steps import Reply
    before = {name.partition(".")[0] for name in sys.modules}
    assert not before & {"coincurve", "wallycore", "sha3", "Crypto"}, before
    from x402_agent.primitives import EvmKey

    class Body:
        def get_list(self, key): return []

    class Signer:
        key = EvmKey(b"k" * 32)
        def address(self, namespace): return self.key.address
        def sign_digest(self, namespace, digest): return self.key.sign(digest)

    entry = {"scheme": "exact", "network": "base-sepolia", "amount": "10000", "maxTimeoutSeconds": 60,
             "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x" + "20" * 20}
    reply = Reply(402, Body(), json.dumps({"x402Version": 2, "accepts": [entry]}).encode())
    ask = Ask("GET", "https://a.example/", "https://a.example", "a.example", "/")
    (dialect, *_), (chain, *_) = dialects(), chains()
    (offer,) = dialect.read(reply, ask).offers
    signer = Signer()
    assert chain.refuses(offer, signer.address("eip155")) == ""
    terms = chain.terms(offer, signer.address("eip155"), now=1800000000, nonce=b"n" * 32, max_lifetime=60)
    proof = chain.prove(offer, terms, signer)
    try:
        next(dialect.present(Hold("p", ask, offer, terms), proof))
    except StopIteration as done:
        assert done.value.headers["PAYMENT-SIGNATURE"]
    loaded = {name.partition(".")[0] for name in sys.modules}
    heavy = {"eth_account", "eth_keys", "eth_utils", "eth_abi", "eth_hash", "web3", "py_ecc"}
    assert not loaded & heavy, loaded & heavy
    assert sys.getrecursionlimit() == limit
    print("light")
"""


def test_Q1_parsing_and_signing_stay_light():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "light\n", done.stderr
