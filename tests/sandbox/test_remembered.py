"""What a seller remembers for a while: bounded, in order, and no dearer for being much."""

from __future__ import annotations

from x402_agent.sandbox.remembered import Remembered


def test_it_ends_and_what_is_said_anew_begins_anew():
    kept = Remembered(10)
    kept.put("a", 1, now=100)
    assert kept.get("a", 109) == 1 and kept.get("a", 110) is None and kept.get("b", 100) is None
    kept.put("b", 2, now=105)
    kept.put("a", 3, now=108)
    assert (kept.get("a", 117), kept.get("b", 114), kept.get("b", 115)) == (3, 2, None)
    kept.put("c", 4, now=116)
    assert list(kept._kept) == ["a", "c"]  # what has ended goes


def test_of_too_much_the_oldest_goes_and_one_goes_for_each_that_comes():
    kept = Remembered(3600, most=100)
    for number in range(1_000):
        kept.put(str(number), number, now=number / 1_000)
    assert len(kept._kept) == 100 and kept.get("900", 1) == 900 and kept.get("899", 1) is None
    kept.put("950", 0, now=1)
    assert len(kept._kept) == 100 and list(kept._kept)[-1] == "950"
