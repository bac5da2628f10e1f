"""Pretend sellers on chains in this process, to practise on. README.md says what this does not prove."""

from __future__ import annotations

from .books import Books
from .ground import GROUNDS, Ground, Settlement
from .routes import Route
from .scenario import Scenario
from .scene import Scene
from .seller import SELLERS, Seller, books, chains, scenario, scenarios, sellers
from .world import Sandbox

__all__ = ["GROUNDS", "SELLERS", "Books", "Ground", "Route", "Sandbox", "Scenario", "Scene", "Seller", "Settlement", "books", "chains", "scenario", "scenarios", "sellers"]
