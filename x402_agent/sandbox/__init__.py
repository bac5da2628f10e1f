"""Pretend sellers on a real EVM in this process, to practise on. README.md says what this does not prove."""

from __future__ import annotations

from .routes import ROUTES, Route
from .scenario import Scenario, scenario, scenarios
from .world import Sandbox, Settlement

__all__ = ["ROUTES", "Route", "Sandbox", "Scenario", "Settlement", "scenario", "scenarios"]
