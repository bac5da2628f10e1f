"""The node client: which chain first, failover, bounded answers, and no more of a URL than scheme and host."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from x402_agent import Settings, assets
from x402_agent.chains.evm import reads
from x402_agent.chains.evm.fate import fate
from x402_agent.chains.evm.rpc import Node
from x402_agent.chains.rpc import shown
from x402_agent.errors import NodeError, SettingsError
from x402_agent.model import Terms
from x402_agent.primitives import keccak
from x402_agent.secret import Secret
from x402_agent.steps import Fetched

BASE = assets.network("base-sepolia")
ONE, TWO = "https://one.example/v2/needle1", "https://u:needle2@two.example/rpc?key=needle3"
BOTH = f"{ONE}|{TWO}"
TOKEN, OWNER, OTHER = (f"0x{digit * 40}" for digit in "123")
CHAIN = "0x14a34"
FINE = {"eth_chainId": CHAIN}


class Net:
    """Several nodes by URL; each a dict of method to a result, a Fetched, or an Exception's words as error."""

    def __init__(self, **nodes):
        self.nodes = {"one": ONE, "two": TWO}
        self.answers = {self.nodes[name]: answers for name, answers in nodes.items()}
        self.calls = []

    def drive(self, steps):
        value = None
        while True:
            try:
                step = steps.send(value)
            except StopIteration as done:
                return done.value
            sent = json.loads(step.content)
            self.calls.append((step.url, sent["method"], sent["params"], step))
            value = self.answer(step.url, sent)

    def answer(self, url, sent):
        found = self.answers.get(url, {}).get(sent["method"], Fetched(0, {}, b""))
        if callable(found) and not isinstance(found, Exception):
            found = found(*sent["params"])
        if isinstance(found, Fetched):
            return found
        if isinstance(found, Exception):
            body = {"error": {"code": -32000, "message": str(found)}}
        else:
            body = {"result": found}
        return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": sent["id"], **body}).encode())

    def methods(self, url):
        return [method for asked, method, *_ in self.calls if asked == url]


def word(number):
    return "0x" + number.to_bytes(32).hex()


def ask(net, read, *args, where=BOTH):
    return net.drive(read(Node(BASE, where), *args))


def test_C3_the_chain_is_asked_once_and_before_anything_else():
    net = Net(one={**FINE, "eth_getBalance": "0x5"})
    node = Node(BASE, ONE)
    assert net.drive(reads.native(node, OWNER)) == net.drive(reads.native(node, OWNER)) == 5
    assert net.methods(ONE) == ["eth_chainId", "eth_getBalance", "eth_getBalance"]


def test_C3_a_node_of_another_chain_is_never_asked_for_more():
    net = Net(one={"eth_chainId": "0x1", "eth_getBalance": "0x7"}, two={**FINE, "eth_getBalance": "0x5"})
    node = Node(BASE, BOTH)
    assert net.drive(reads.native(node, OWNER)) == net.drive(reads.native(node, OWNER)) == 5
    assert net.methods(ONE) == ["eth_chainId"]
    with pytest.raises(NodeError, match=r"on chain 1, not on 84532 \(C3\)"):
        ask(Net(one={"eth_chainId": "0x1"}), reads.native, OWNER, where=ONE)


BAD = [Fetched(0, {}, b""), Fetched(503, {}, b""), Fetched(307, {"location": "https://evil.example"}, b""),
       Fetched(200, {}, b"<html>"), Fetched(200, {}, b"[" * 30000), Fetched(200, {}, b'{"a":' * 10000),
       Fetched(200, {}, b'"' + b"x" * 65535), Fetched(200, {}, b"[]"), Fetched(200, {}, b"{}"), Fetched(200, {}, b"\xff"),
       Fetched(200, {}, b'{"result":' + b"9" * 5000 + b"}"), RuntimeError("rate limited")]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40])
@pytest.mark.parametrize("method", ["eth_chainId", "eth_getBalance"])
def test_failover_from_every_kind_of_no_answer(bad, method):
    net = Net(one={**FINE, "eth_getBalance": "0x7", method: bad}, two={**FINE, "eth_getBalance": "0x5"})
    assert ask(net, reads.native, OWNER) == 5


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40])
def test_no_answer_from_anybody_is_a_NodeError(bad):
    net = Net(one={**FINE, "eth_getBalance": bad}, two={"eth_chainId": bad})
    with pytest.raises(NodeError, match=r"one\.example: .*two\.example: ") as caught:
        ask(net, reads.native, OWNER)
    assert "needle" not in str(caught.value)


@pytest.mark.parametrize("deep", [b"[" * 20000 + b"]" * 20000, b'{"a":' * 9000, b"[" * 521, b"[" * 65 + b"]" * 65, b'["]]",' * 500, b'["\\"]",' * 500])
def test_S5_a_deep_answer_is_never_parsed(deep):
    """Another library may have raised the recursion limit: then the parser would crash, not raise."""
    with pytest.raises(NodeError, match="too deep to read"):
        ask(Net(one={**FINE, "eth_getBalance": Fetched(200, {}, b'{"result":' + deep + b"}")}), reads.native, OWNER, where=ONE)


def test_whoever_answers_is_asked_first_from_then_on():
    net = Net(two={**FINE, "eth_getBalance": "0x5"})
    node = Node(BASE, BOTH)
    for _ in range(3):
        net.drive(reads.native(node, OWNER))
    assert net.methods(ONE) == ["eth_chainId"]


def test_reads_are_repeated_by_the_driver_and_broadcasts_are_not():
    net = Net(one={**FINE, "eth_getBalance": "0x5", "eth_sendRawTransaction": "0x1"})
    ask(net, reads.native, OWNER)
    ask(net, reads.send_raw, b"\x02\x01")
    retries = {method: step.retries for _, method, _, step in net.calls}
    assert retries == {"eth_chainId": 2, "eth_getBalance": 2, "eth_sendRawTransaction": 0}
    assert net.calls[-1][2] == ["0x0201"]


def test_C19_no_error_or_repr_shows_more_than_scheme_and_host():
    says = RuntimeError(f"bad key needle3 in {TWO} for u, /rpc or /v2/needle1\x1b[31m" + "x" * 500)
    net = Net(one={**FINE, "eth_getBalance": RuntimeError("v2/needle1 is over quota")}, two={**FINE, "eth_getBalance": says})
    with pytest.raises(NodeError) as caught:
        ask(net, reads.native, OWNER)
    text = str(caught.value) + repr(caught.value) + repr(Node(BASE, BOTH)) + repr(net.calls[0][3])
    assert "needle2" not in text and "needle3" not in text and "\x1b" not in text
    assert "https://two.example: error: bad key … in …" in text and len(str(caught.value)) < 900
    assert shown(Secret(TWO)) == "https://two.example"
    assert "needle1" not in text.partition("two.example")[0]


@pytest.mark.parametrize("url", ["http://node.example", "ftp://node.example", "https://", "", "http://localhost.evil.example",
                                 "http://127.0.0.1@evil.example/", "https://[", "file:///etc/passwd"])  # fmt: skip
def test_C20_only_https_or_this_machine(url):
    with pytest.raises(SettingsError, match="C20"):
        Node(BASE, url)
    with pytest.raises(SettingsError, match="C20"):
        Node(BASE, f"{ONE}|{url}")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:8545/x", "http://[::1]:8545", "https://n.example"])
def test_C20_these_are_asked(url):
    assert [each.text for each in Node(BASE, url).urls] == [url]


SELECTORS = {"balanceOf(address)": reads.balance, "allowance(address,address)": reads.allowance,
             "authorizationState(address,bytes32)": reads.authorization_state}  # fmt: skip


@pytest.mark.parametrize("signature", SELECTORS)
def test_calls_carry_the_selector_of_their_function(signature):
    net = Net(one={**FINE, "eth_call": word(1)})
    last = {"allowance(address,address)": (OTHER,), "authorizationState(address,bytes32)": ("0x" + "6e" * 32,)}
    assert ask(net, SELECTORS[signature], TOKEN, OWNER, *last.get(signature, ())) == 1
    call, block = net.calls[-1][2]
    assert call["data"].startswith("0x" + keccak(signature.encode())[:4].hex() + "0" * 24 + OWNER[2:])
    assert (call["to"], block, (len(call["data"]) - 10) % 64) == (TOKEN, "latest", 0)


def test_the_topics_are_those_of_erc20():
    assert keccak(b"Transfer(address,address,uint256)").hex() == reads.TRANSFER[2:]
    assert keccak(b"Approval(address,address,uint256)").hex() == reads.APPROVAL[2:]


@pytest.mark.parametrize("odd", [None, "0x", "0x5", 5, "0x" + "g" * 64, "0x" + "0" * 66, [], {}, word(2)])
def test_odd_words_are_NodeErrors(odd):
    net = Net(one={**FINE, "eth_call": odd, "eth_getBalance": odd if odd != "0x5" and odd != word(2) else None})
    if odd != word(2):
        with pytest.raises(NodeError):
            ask(net, reads.balance, TOKEN, OWNER, where=ONE)
    with pytest.raises(NodeError):
        ask(net, reads.authorization_state, TOKEN, OWNER, "0x" + "6e" * 32, where=ONE)
    with pytest.raises(NodeError):
        ask(net, reads.native, OWNER, where=ONE)


def test_fees_modern_and_legacy():
    history = {"baseFeePerGas": ["0x9", "0x64"], "reward": [["0x3"], ["0x1"], ["0x2"]]}
    assert ask(Net(one={**FINE, "eth_feeHistory": history}), reads.fees, where=ONE) == (202, 2)
    assert ask(Net(one={**FINE, "eth_gasPrice": "0x7"}), reads.fees, where=ONE) == (7, None)
    empty = {"baseFeePerGas": ["0x64"], "reward": [["0x0"], ["0x0"]]}
    assert ask(Net(one={**FINE, "eth_feeHistory": empty}), reads.fees, where=ONE) == (205, 5)
    legacy = {"eth_feeHistory": {"baseFeePerGas": []}, "eth_gasPrice": "0x7"}
    assert ask(Net(one={**FINE, **legacy}), reads.fees, where=ONE) == (7, None)


TXID = "0x" + "ab" * 32


def mined(**changes):
    log = {"address": TOKEN, "topics": [reads.TRANSFER, word(1), word(2)], "data": word(9)}
    return {"status": "0x1", "gasUsed": "0x64", "effectiveGasPrice": "0x2", "transactionHash": TXID,
            "blockNumber": "0x10", "logs": [log], **changes}  # fmt: skip


def test_receipts():
    net = Net(one={**FINE, "eth_getTransactionReceipt": mined(l1Fee="0x5")})
    found = ask(net, reads.receipt, TXID, where=ONE)
    assert (found.transaction, found.block, found.ok, found.fee) == (TXID, 16, True, 205)
    assert found.logs[0].address == TOKEN and found.logs[0].data == bytes(31) + b"\x09"
    assert ask(Net(one={**FINE, "eth_getTransactionReceipt": None}), reads.receipt, TXID, where=ONE) is None
    failed = Net(one={**FINE, "eth_getTransactionReceipt": mined(status="0x0", logs=[])})
    assert ask(failed, reads.receipt, TXID, where=ONE).ok is False


@pytest.mark.parametrize("change", [{"transactionHash": "0x" + "cd" * 32}, {"status": "0x2"}, {"status": None}, {"logs": None},
                                    {"blockNumber": None}, {"gasUsed": -1}, {"logs": [{"address": "0x"}]}])  # fmt: skip
def test_C4_another_or_odd_receipt_is_none(change):
    with pytest.raises(NodeError):
        ask(Net(one={**FINE, "eth_getTransactionReceipt": mined(**change)}), reads.receipt, TXID, where=ONE)


def transfer(**changes):
    topics = [reads.TRANSFER, word(int(OWNER, 16)), word(int(OTHER, 16))]
    return {"address": TOKEN, "topics": topics, "data": word(9), "transactionHash": TXID, "blockNumber": "0x10", **changes}


def test_transfer_logs():
    net = Net(one={**FINE, "eth_getLogs": [transfer()]})
    found = net.drive(reads.transfer_logs(Node(BASE, ONE), TOKEN, sender=OWNER, to=OTHER, first=1, last=20))
    assert found == [(TXID, 16, OWNER, OTHER, 9)]
    assert net.calls[-1][2] == [{"address": TOKEN, "topics": transfer()["topics"], "fromBlock": "0x1", "toBlock": "0x14"}]
    assert net.calls[-1][3].limit == 256 * 1024


@pytest.mark.parametrize("change", [{"address": OWNER}, {"topics": transfer()["topics"][::-1]}, {"data": "0x"}, {"removed": True},
                                    {"topics": [reads.TRANSFER, word(1), word(int(OTHER, 16))]}])  # fmt: skip
def test_V8_a_transfer_that_was_not_asked_for_spoils_the_answer(change):
    net = Net(one={**FINE, "eth_getLogs": [transfer(), transfer(**change)]})
    with pytest.raises(NodeError):
        net.drive(reads.transfer_logs(Node(BASE, ONE), TOKEN, sender=OWNER, first=1))


def judge(**verdicts):
    """The fate of an authorisation by nodes that say used or unused, at a final block past its expiry."""
    block = {"number": "0x64", "timestamp": hex(2001)}
    asset = next(each for each in assets.assets() if each.network is BASE and each.symbol == "USDC")
    offer = type("O", (), {"asset": asset, "network": BASE, "method": ""})
    terms = Terms(OWNER, "0x" + "6e" * 32, 1000, 2000)
    nodes = {name: {**FINE, "eth_call": word(int(used)), "eth_getBlockByNumber": block} if used is not None else {}
             for name, used in verdicts.items()}  # fmt: skip
    return Net(**nodes).drive(fate(offer, terms, BOTH))


@pytest.mark.parametrize(("one", "two", "said"), [(False, False, "dead"), (False, True, "settled"), (True, False, "settled"),
                                                  (False, None, "unknown"), (None, True, "settled")])  # fmt: skip
def test_C2_all_must_say_dead_and_one_may_say_settled(one, two, said):
    assert judge(one=one, two=two) == said


def test_settings_name_several_nodes_and_take_no_other_url():
    found = Settings.load({"X402_AGENT_NODES": f"base-sepolia={BOTH}, base=http://[::1]:8545"}).nodes
    assert found == {"eip155:84532": BOTH, "eip155:8453": "http://[::1]:8545"}
    for url in ("http://node.example", "http://127.0.0.1@node.example/needle1", f"{ONE}|http://node.example", "", "https://["):
        with pytest.raises(SettingsError, match="not https") as caught:
            Settings.load({"X402_AGENT_NODES": f"base={url}"})
        assert "needle" not in str(caught.value)
        with pytest.raises(SettingsError, match="entry 1") as caught:
            Settings.load({"X402_AGENT_NODES": ONE})
        assert "needle" not in str(caught.value)


def test_S5_a_deep_answer_does_not_end_a_thread_with_a_small_stack():
    """Whatever other libraries made of the recursion limit: 2,000 levels need more than 256 KiB of stack."""
    code = (
        "import sys, threading; from x402_agent.chains.rpc import _document; from x402_agent.steps import Fetched\n"
        "def read():\n"
        "    try: _document(Fetched(200, {}, b'{\"result\":' + b'[' * 2000 + b']' * 2000 + b'}'), 256 * 1024)\n"
        "    except Exception as why: print(why)\n"
        "sys.setrecursionlimit(100_000); threading.stack_size(256 * 1024)\n"
        "thread = threading.Thread(target=read); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (0, "an answer too deep to read\n")


def test_brackets_in_a_nodes_words_are_words():
    words = Fetched(200, {}, b'{"result":null,"error":{"message":"' + b"[" * 300 + b'"}}')
    with pytest.raises(NodeError, match=r"error: \[\["):
        ask(Net(one={**FINE, "eth_getBalance": words}), reads.native, OWNER, where=ONE)


def test_an_answer_belongs_to_one_question():
    """Questions share a connection, so what a node says late, or twice, must not be taken for the answer to the next one."""
    numbers = []

    def said(text):
        class Numbered(Net):
            def answer(self, url, sent):
                numbers.append(sent["id"])
                return super().answer(url, sent) if sent["method"] == "eth_chainId" else Fetched(200, {}, text.replace("ID", str(sent["id"])).encode())

        return Numbered(one=FINE)

    for wrong in ('"id":7,', '"id":"ID",', '"id":IDID,'):
        with pytest.raises(NodeError, match="an answer to another question"):
            ask(said(f'{{{wrong}"result":"0x7"}}'), reads.native, OWNER, where=ONE)
    for right in ('"id":ID,', '"id":1,', '"id":null,', ""):  # small nodes say 1 whatever they were asked
        assert ask(said(f'{{{right}"result":"0x7"}}'), reads.native, OWNER, where=ONE) == 7
    for error in ('"id":ID,', '"id":null,', ""):
        with pytest.raises(NodeError, match="error: no"):
            ask(said(f'{{{error}"error":{{"message":"no"}}}}'), reads.native, OWNER, where=ONE)
    block = '"result":{"number":"0x7","timestamp":"0x9","transactions":["0x'
    assert ask(said('{"id":ID,' + block), reads.head, "finalized", where=ONE) == ("0x7", 9)  # however much is cut
    assert ask(said("{" + block), reads.head, "finalized", where=ONE) == ("0x7", 9)
    with pytest.raises(NodeError, match="an answer to another question"):
        ask(said('{"id":7,' + block), reads.head, "finalized", where=ONE)
    assert len(set(numbers)) == len(numbers)
