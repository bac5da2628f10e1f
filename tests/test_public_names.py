"""The public names: this list and no other, each imported on first use, each called x402_agent.NAME."""

from __future__ import annotations

import pytest

import x402_agent

NAMES = """AccountSigner AddressRefused Asset Bounds Budget BudgetExceeded ChallengeInvalid Guard KmsSigner LedgerError Money NoAcceptableOffer NodeError NotReplayable
Offer Payer PaymentError PaymentInDoubt PaymentRefused PaymentTransport Plan Policy PolicyDenied Price Quote Receipt SettingsError
Settings Signer SigningFailed Task Wallet WalletError attach""".split()


def test_the_list_does_not_drift():
    assert sorted(x402_agent.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(x402_agent))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_resolves_under_its_public_path(name):
    found = getattr(x402_agent, name)
    assert found.__module__ == "x402_agent" and found.__doc__


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        x402_agent.nothing  # noqa: B018
