"""kill -9 at every write and every send, enumerated: no double payment, none forgotten, and a broken client is caught."""

from __future__ import annotations

import pytest

from recovery import faultpoints

# elsewhere than on Linux they belong to the long run, and fail there
pytestmark = [] if faultpoints.watch.CALLS else [pytest.mark.full]


# whole elsewhere, or another way of one chain that the long run enumerates
LATER = {"one transaction", "upto", "on tron, permit2", "on stacks, v1", "on stacks, draft", "on stacks, sponsored", "on solana, calls of KAMIYO", "a tool",
         "on stacks, x402Pay by transfer", "on tron, an invoice without a 402", "on solana, a Lily proof", "on solana, a Lily top-up"}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _able():
    """Nothing is skipped: where a kill cannot be placed, nothing here is proved, and that is a failure."""
    assert faultpoints.watch.able(), "no process may watch its child here: allow ptrace (docker run --cap-add SYS_PTRACE)"


def clean(found):
    assert all(one.kills == one.points.total() > 0 for one in found)
    assert [(one.double, one.forgotten, one.faults) for one in found] == [(0, 0, [])] * len(found)


def test_every_point_of_a_purchase():
    (found,) = faultpoints.run(["one transaction"])
    clean([found])
    assert found.kills > 40 and {"pwrite", "fdatasync", "send", "sent"} <= set(found.points), found


def test_some_points_of_every_other_way():
    clean(faultpoints.run([name for name in faultpoints.WAYS if name not in LATER], step=61))


@pytest.mark.proves("evm", "exact", "killed")
@pytest.mark.proves("evm", "permit2", "killed")
@pytest.mark.proves("evm", "transfer", "killed")
@pytest.mark.proves("evm", "upto", "killed")
@pytest.mark.proves("solana", "exact", "killed")
@pytest.mark.proves("solana", "transfer", "killed")
@pytest.mark.proves("solana", "lily", "killed")
@pytest.mark.proves("stacks", "exact", "killed")
@pytest.mark.proves("stacks", "v1", "killed")
@pytest.mark.proves("stacks", "draft", "killed")
@pytest.mark.proves("stacks", "sponsored", "killed")
@pytest.mark.proves("tron", "exact_permit", "killed")
@pytest.mark.proves("tron", "permit2", "killed")
@pytest.mark.proves("tron", "transfer", "killed")
@pytest.mark.proves("tron", "invoice", "killed")
@pytest.mark.proves("stacks", "transfer", "killed")
@pytest.mark.proves("stacks", "x402pay", "killed")
@pytest.mark.full
@pytest.mark.parametrize("family", ["evm", "solana", "solana lily", "stacks", "stacks x402pay", "tron", "tron invoice"])  # a sandbox each; processes divide them
def test_every_point_of_every_way(family):
    found = faultpoints.run([name for name, way in faultpoints.WAYS.items() if _family(way) == family])
    assert found
    print(*found, sep="\n")
    clean(found)


def _family(way):
    kind = next((f" {name}" for name in ("lily", "invoice") if way.get(name)), " x402pay" if way.get("seller") == "x402pay" else "")
    return way.get("chain", "evm") + kind


def test_a_client_that_writes_down_late_is_caught():
    (found,) = faultpoints.run(list(faultpoints.CONTROL), step=4)
    assert found.double and found.forgotten, found
