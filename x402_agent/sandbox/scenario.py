"""How a seller behaves once it has been paid: one TOML file each, read strictly. A scenario never signs or pays."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ..errors import SettingsError

__all__ = ["ANSWERS", "Scenario", "scenario", "scenarios"]

ANSWERS = ("content", "error", "hang", "drop", "challenge", "redirect")
_WHOLE = {"status": (400, 599), "times": (0, 1_000_000)}
_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a request that carries a valid proof, on every priced route.

    `answer` is content, error (with `status`), hang (`seconds`, then the connection drops), drop, challenge (402 again)
    or redirect (to `to`, on another host name when `other_host`). `settles` says whether the money moves first.
    `seconds` delays the answer. `times` is how many showings of one proof are answered so, 0 for all; later ones get
    the content. `remembers`: a proof that settled here before is never settled again. `receipt` tells whether an
    answer that is not content carries one. `prices` multiplies the price, request by request, in turn.
    """

    name: str
    description: str
    answer: str = "content"
    settles: bool = True
    seconds: float = 0.0
    times: int = 0
    status: int = 500
    remembers: bool = True
    receipt: bool = False
    to: str = "/moved"
    other_host: bool = False
    prices: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "prices":
                good = isinstance(value, tuple) and value and all(type(n) is int and 0 < n <= 1000 for n in value)
            else:
                kinds = _TYPES[str(each.type)]
                good = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
            if not good:
                raise SettingsError(f"scenario {self.name!r}: {each.name} is wrong", rule=f"{each.name}: {each.type}")
        for name, (low, high) in _WHOLE.items():
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"scenario {self.name!r}: {name} is wrong", rule=f"{name}: {low} to {high}")
        if self.answer not in ANSWERS:
            raise SettingsError(f"scenario {self.name!r}: answer {self.answer!r}", rule=f"one of {', '.join(ANSWERS)}")
        if not 0 <= self.seconds <= 86_400:
            raise SettingsError(f"scenario {self.name!r}: seconds is wrong", rule="seconds: 0 to 86400")
        if not self.to.startswith("/"):
            raise SettingsError(f"scenario {self.name!r}: to {self.to!r}", rule="to is a path")

    def with_(self, **parameters: Any) -> Scenario:
        """The same scenario with other parameters; raises SettingsError for one that does not exist or fit."""
        unknown = sorted(parameters.keys() - {each.name for each in fields(self)})
        if unknown:
            raise SettingsError(f"a scenario has no parameter {unknown[0]!r}", rule=f"scenario {self.name}")
        if isinstance(parameters.get("prices"), list):
            parameters["prices"] = tuple(parameters["prices"])
        return replace(self, **parameters)


def read(text: str, source: str) -> Scenario:
    """One scenario file: `name`, `description`, and a table [parameters]. Raises SettingsError naming the source."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise SettingsError(f"{source}: {cause}", rule="TOML") from cause
    unknown = sorted(found.keys() - {"name", "description", "parameters"})
    if unknown:
        raise SettingsError(f"{source}: unknown key {unknown[0]!r}", rule="name, description, [parameters]")
    parameters = found.get("parameters", {})
    if not isinstance(parameters, dict) or not found.get("name") or not found.get("description"):
        raise SettingsError(f"{source}: name and description are needed", rule="name, description, [parameters]")
    if "name" in parameters or "description" in parameters:
        raise SettingsError(f"{source}: name and description stand above [parameters]", rule="[parameters]")
    return Scenario(found["name"], found["description"]).with_(**parameters)


@cache
def _all() -> dict[str, Scenario]:
    folder = files(__package__) / "scenarios"
    named = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    made = [(name, read((folder / name).read_text("utf-8"), name)) for name in named]
    for name, each in made:
        if name != f"{each.name}.toml":
            raise SettingsError(f"{name} holds the scenario {each.name!r}", rule="the file is called like the scenario")
    return {each.name: each for _, each in made}


def scenarios() -> dict[str, Scenario]:
    """Every scenario that comes with the package, by name."""
    return dict(_all())


def scenario(which: str | Scenario) -> Scenario:
    """The scenario with this name; raises SettingsError naming those that exist."""
    if isinstance(which, Scenario):
        return which
    found = _all().get(which)
    if found is None:
        raise SettingsError(
            f"no scenario is called {which!r}",
            rule=f"one of {', '.join(_all())}",
            hint="x402-agent sandbox scenarios",
        )
    return found
