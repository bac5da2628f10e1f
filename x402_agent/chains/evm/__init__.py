"""EVM chains: scheme `exact` by EIP-3009. What is signed is a function of assets.toml and our own terms alone."""

from .chain import Evm

__all__ = ["Evm"]
