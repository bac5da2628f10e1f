"""Pretend sellers on chains in this process, to practise on. README.md says what this does not prove."""

from __future__ import annotations

from .ground import GROUNDS, Ground, Settlement
from .routes import Route
from .scenario import Scenario, scenario, scenarios
from .world import Sandbox

__all__ = ["GROUNDS", "Ground", "Route", "Sandbox", "Scenario", "Settlement", "scenario", "scenarios"]
