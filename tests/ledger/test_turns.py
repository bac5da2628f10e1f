"""Turns between processes: who has just had the lock waits behind whoever waits, and a stopped one stops nobody."""

import os
import subprocess
import sys
import time
from pathlib import Path

from x402_agent.ledger import lock

GREEDY = """
import itertools, sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from x402_agent.ledger import lock
fd, line = lock.open_private(Path({path_of_lock!r})), lock.open_private(Path({path_of_line!r}))
for turn in itertools.count(1):
    lock.acquire(fd, line=line)
    lock.write_at(fd, turn.to_bytes(8, "little"))
    time.sleep(0.002)
    lock.unlock(fd)
"""


def test_who_has_just_had_the_lock_stands_behind_whoever_waits(tmp_path):
    files = tmp_path / "a.lock", tmp_path / "a.line"
    fd, line = map(lock.open_private, files)

    def turn():
        return int.from_bytes(lock.read_at_start(fd, 8), "little")

    source = GREEDY.format(path=sys.path, path_of_lock=str(files[0]), path_of_line=str(files[1]))
    greedy = subprocess.Popen([sys.executable, "-c", source])
    try:
        while not turn():
            assert greedy.poll() is None
        passed = []
        for _ in range(20):
            time.sleep(0.01)
            before = turn()
            lock.acquire(fd, 30.0, line=line)
            passed.append(turn() - before)
            lock.unlock(fd)
        assert sorted(passed)[len(passed) // 2] <= 2, passed  # now and then the system stops us before we stand in line
    finally:
        greedy.kill()
        greedy.wait()
        os.close(fd)
        os.close(line)


def test_a_process_that_was_stopped_in_the_line_holds_nobody_up(desk, ledger, monkeypatch):
    monkeypatch.setattr(lock, "COURTESY", 0.05)
    fd = lock.open_private(Path(f"{desk.path}.line"))
    assert lock.try_lock(fd)
    desk.pay(ledger)
    os.close(fd)
