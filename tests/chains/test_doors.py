"""The doors of chains and dialects: ours by name, plug-ins by name only, and a typed error for strangers."""

from __future__ import annotations

import sys

import pytest

from x402_agent import chains, dialects
from x402_agent.errors import SettingsError

DOORS = [pytest.param(chains, "eip155", id="chains"), pytest.param(dialects, "x402", id="dialects")]


@pytest.mark.parametrize(("door", "name"), DOORS)
def test_ours_load_by_name(door, name):
    (loaded,) = door.load([name])
    assert type(loaded) is type(door.builtin()[0])
    assert door.load([]) == ()


@pytest.mark.parametrize(("door", "name"), DOORS)
def test_a_stranger_is_a_settings_error(door, name):
    with pytest.raises(SettingsError) as caught:
        door.load(["nobody-has-this"])
    assert "nobody-has-this" in str(caught.value)


@pytest.mark.parametrize(("door", "name"), DOORS)
def test_a_plugin_is_imported_only_when_named(door, name, tmp_path, monkeypatch):
    group = door.GROUP
    module = f"plug_{name}"
    tmp_path.joinpath(f"{module}.py").write_text("class Door:\n    name = namespace = 'mine'\n")
    meta = tmp_path / f"{module}-1.dist-info"
    meta.mkdir()
    meta.joinpath("METADATA").write_text(f"Name: {module}\nVersion: 1\n")
    meta.joinpath("entry_points.txt").write_text(f"[{group}]\nmine-{name} = {module}:Door\n")
    monkeypatch.syspath_prepend(tmp_path)
    door.load([name])
    assert module not in sys.modules
    (loaded,) = door.load([f"mine-{name}"])
    assert type(loaded).__module__ == module
    sys.modules.pop(module)
