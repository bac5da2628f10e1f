"""What a world stands on: the chains that there are, and what a ground must bring."""

from __future__ import annotations

import inspect

import pytest

from x402_agent import Payer, SettingsError
from x402_agent.assets import asset, network
from x402_agent.sandbox import GROUNDS, Ground, Sandbox

CHAINS = list(GROUNDS)


@pytest.fixture(params=CHAINS)
def world(request):
    with Sandbox(chain=request.param) as box:
        yield box


@pytest.mark.parametrize("make", [lambda name: Sandbox(chain=name), lambda name: Payer.sandbox(chain=name)])
def test_a_chain_that_is_not_there_is_a_typed_error_that_lists_what_is(make):
    with pytest.raises(SettingsError) as caught:
        make("dogecoin")
    assert "dogecoin" in str(caught.value)
    assert all(name in caught.value.rule for name in CHAINS)


def test_a_ground_brings_everything(world):
    ground = world.ground
    assert (ground.name, world.network) == (ground.name, ground.networks[2])
    where = network(ground.networks[2])
    assert where.testnet
    assert asset(where, ground.asset.address) == ground.asset
    assert len(ground.payer_key) == 32
    assert len({ground.payer_address, ground.pay_to, ground.facilitator.address}) == 3
    assert not inspect.isabstract(type(ground))
    assert repr(ground.payer_key)[2:-1] not in repr(world) + repr(ground)


def test_the_faucet_gives_exactly_what_was_asked(world):
    before = world.balance(world.pay_to)
    tx = world.fund(world.pay_to, 123_456)
    assert world.balance(world.pay_to) == before + 123_456
    assert world.transaction(tx) is not None
    for amount in (0, -1):
        with pytest.raises(ValueError, match="amount"):
            world.fund(world.pay_to, amount)
    with pytest.raises(ValueError):  # noqa: PT011 - each chain has words of its own
        world.balance("nobody")


def test_time_runs_forward(world):
    before = world.ground.now()
    world.warp(500)
    assert world.ground.now() >= before + 500
    with pytest.raises(ValueError, match="forward"):
        world.warp(-1)


def test_every_priced_route_asks_in_the_chains_own_words(world):
    for path, route in world.routes.items():
        for version in route.versions if route.price else ():
            entries = world.ground.offers(route, version)
            where = network(world.ground.networks[version])
            own = [asset(where, e.asset) for e in entries if network(e.network) is where]
            assert any(own) and (route.ways or world.ground.asset in own), path


def test_the_facilitator_says_what_it_settles(world):
    kinds = world.facilitator.supported()["kinds"]
    spoken = {(each["x402Version"], each["network"]) for each in kinds}
    assert spoken >= {(version, name) for version, name in world.ground.networks.items()}
    assert isinstance(world.ground, Ground)
