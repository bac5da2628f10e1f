"""An offer whose chain cannot pay it just now gives way to the next one; the last one's own reason is what is raised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x402_agent import flow
from x402_agent.errors import NoAcceptableOffer, NodeError
from x402_agent.model import Anchor, Ask, Challenge
from x402_agent.steps import Find, Hold


class Kit:
    """As much of a kit as `prove` asks before it holds: the first offer is chosen, and chains answer by script."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []

    def choose(self, ask, challenge):
        self.seen.append(challenge)
        return replace(challenge.offers[0], value=7), ()

    def owned(self, ask, challenge):
        return False
        yield

    def anchor(self, offer):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
        yield


def held(challenge, kit):
    """The Hold that is asked for."""
    ask = Ask("GET", "https://a.example/", "https://a.example", "a.example", "/")
    steps = flow.prove(ask, challenge, kit)
    step = next(steps)
    while isinstance(step, Find):
        step = steps.send(None)
    assert isinstance(step, Hold)
    return step


@pytest.mark.parametrize("why", [NoAcceptableOffer("no node"), NodeError("no answer")])
def test_the_next_offer_is_paid_and_the_reason_kept(offer, why):
    one, two = offer(amount=1), offer(amount=2)
    kit = Kit(why, Anchor("x"))
    step = held(Challenge("x402", (one, two), ("before",)), kit)
    assert (step.offer, step.anchor) == (two, Anchor("x"))
    assert kit.seen[1].passed_over == ("before", f"{one.money}: {why.what}")


def test_the_last_ones_reason_is_raised(offer):
    kit = Kit(NodeError("first"), NoAcceptableOffer("second", hint="what to set"))
    with pytest.raises(NoAcceptableOffer, match="second") as caught:
        held(Challenge("x402", (offer(amount=1), offer(amount=2))), kit)
    assert caught.value.hint == "what to set"
