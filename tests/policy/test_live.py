"""policy.toml edited while a process runs: what is narrowed holds, what is broken or half written pays nothing or changes nothing."""

from __future__ import annotations

import hashlib
import os

from x402_agent.policy import Policy, load
from x402_agent.policy.live import Live


class Payer:
    def __init__(self, path):
        self.path, self.at = path, 0.0
        self.live = Live(path, lambda: load(path), clock=lambda: self.at)
        self.policy = load(path)

    def look(self, seconds=1.0):
        self.at += seconds
        return self.live.door(self)

    def settle(self):
        self.look()
        return self.look()


def test_a_changed_file_holds_once_it_has_stood_still(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('per_call = "0.10"\n')
    payer = Payer(path)
    path.write_text('per_call = "0.05"\nday = "1"\n')
    assert payer.look() is None and payer.policy.per_call == 100_000, "it may still be half written"
    assert payer.look(0.5) is None and payer.policy.per_call == 100_000
    assert payer.look() is None and payer.policy.per_call == 50_000


def test_Z14_the_log_names_each_file_by_its_hash(tmp_path, caplog):
    path = tmp_path / "policy.toml"
    path.write_text('per_call = "0.10"\n')
    caplog.set_level("INFO", "x402_agent")
    payer = Payer(path)
    path.write_text('per_call = "0.20"\n')
    payer.settle()
    said = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert said == [hashlib.sha256(f'per_call = "{most}"\n'.encode()).hexdigest() for most in ("0.10", "0.20")]


def test_a_broken_file_pays_nothing_and_a_mended_one_does_again(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('per_call = "0.10"\n')
    payer = Payer(path)
    path.write_text("\nper_call = 0.1\n")
    why = payer.settle()
    assert why.rule == f"{path}:2" and payer.policy.per_call == 100_000
    assert payer.look(0.1) is not None and payer.look(100) is not None
    path.write_text('per_call = "0.01"\n')
    assert payer.settle() is None and payer.policy.per_call == 10_000


def test_a_file_that_goes_takes_no_limit_along(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('day = "0.01"\n')
    payer = Payer(path)
    path.unlink()
    assert "gone" in payer.settle().what and payer.policy.day == 10_000
    path.write_text('day = "0.02"\n')
    assert payer.settle() is None and payer.policy.day == 20_000


def test_a_file_that_comes_holds(tmp_path):
    path = tmp_path / "policy.toml"
    payer = Payer(path)
    assert payer.policy == Policy()
    path.write_text('day = "0.01"\n')
    assert payer.settle() is None and payer.policy.day == 10_000


def test_the_file_is_looked_at_once_a_second(tmp_path, monkeypatch):
    path = tmp_path / "policy.toml"
    path.write_text("")
    payer, looks = Payer(path), []
    monkeypatch.setattr(Live, "_look", lambda self: looks.append(1) or self._stamp)
    for _ in range(100):
        payer.look(0.01)
    assert len(looks) == 1


def test_a_new_file_of_the_same_size_and_time_is_a_new_file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('day = "9"\n')
    payer = Payer(path)
    fresh = tmp_path / "fresh"
    fresh.write_text('day = "1"\n')
    os.utime(fresh, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    fresh.replace(path)
    assert payer.settle() is None and payer.policy.day == 1_000_000
