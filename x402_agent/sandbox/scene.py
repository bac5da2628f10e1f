"""What every scenario is, whoever the seller: a name, a description and typed parameters; one TOML file each, read strictly."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..errors import SettingsError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Scene", "load", "read"]

_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}
S = TypeVar("S", bound="Scene")


@dataclass(frozen=True, slots=True)
class Scene:
    """How a seller behaves. Parameters are str, bool, int, float, or a tuple of whole numbers from 1 to 1000."""

    name: str
    description: str

    def __post_init__(self) -> None:
        for each in fields(self):
            value, kind = getattr(self, each.name), str(each.type)
            if kind not in _TYPES:
                good = isinstance(value, tuple) and value and all(type(n) is int and 0 < n <= 1000 for n in value)
            else:
                good = isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
            if not good:
                raise SettingsError(f"scenario {self.name!r}: {each.name} is wrong", rule=f"{each.name}: {each.type}")

    def bound(self, **limits: tuple[float, float]) -> None:
        """Raise SettingsError for a number outside of its limits, both included."""
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"scenario {self.name!r}: {name} is wrong", rule=f"{name}: {low} to {high}")

    def known(self, **words: tuple[str, ...]) -> None:
        """Raise SettingsError for a parameter that is none of its words."""
        for name, each in words.items():
            if getattr(self, name) not in each:
                raise SettingsError(f"scenario {self.name!r}: {name} is wrong", rule=f"one of {', '.join(each)}")

    def with_(self, **parameters: Any) -> Self:
        """The same scenario with other parameters; raises SettingsError for one that does not exist or fit."""
        known = {each.name for each in fields(self)}
        if unknown := sorted(parameters.keys() - known):
            raise SettingsError(f"a scenario has no parameter {unknown[0]!r}", rule=f"scenario {self.name}", hint=", ".join(sorted(known)))
        made: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in parameters.items()}
        return replace(self, **made)


def read(text: str, source: str, kind: type[S]) -> S:
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
    return kind(found["name"], found["description"]).with_(**parameters)


def load(folder: Traversable, kind: type[S]) -> dict[str, S]:
    """Every scenario of a folder, by name; raises SettingsError."""
    named = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    made = [(name, read((folder / name).read_text("utf-8"), name, kind)) for name in named]
    for name, each in made:
        if name != f"{each.name}.toml":
            raise SettingsError(f"{name} holds the scenario {each.name!r}", rule="the file is called like the scenario", hint=f"{each.name}.toml")
    return {each.name: each for _, each in made}
