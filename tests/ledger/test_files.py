"""The files: modes, links, locks, schema, damage, forks, a full disk. Each refusal is a LedgerError."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import nursery
from x402_agent.errors import LedgerError, PaymentError
from x402_agent.ledger import SqliteLedger, lock
from x402_agent.model import Limit

NEEDLE = "needle-5ecre7"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_private(desk, tmp_path):
    desk.path = tmp_path / "made" / "here" / "ledger.db"
    ledger = desk.open()
    desk.pay(ledger)
    folder = desk.path.parent
    assert mode(folder) == 0o700
    found = {each.name: mode(each) for each in folder.iterdir() if each.is_file()}
    assert set(found) >= {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock", "ledger.db.line", "ledger.db.secret"}
    assert set(found.values()) == {0o600}
    assert mode(folder / "ledger.db.owners") == 0o700


def test_loose_modes_are_tightened(desk):
    desk.open().shut()
    for suffix in ("", ".secret", ".lock", ".line"):
        os.chmod(f"{desk.path}{suffix}", 0o644)
    desk.open()
    assert {mode(Path(f"{desk.path}{suffix}")) for suffix in ("", ".secret", ".lock", ".line")} == {0o600}


@pytest.mark.parametrize("suffix", ["", ".lock", ".line", ".secret"])
def test_symbolic_links_are_refused(desk, tmp_path, suffix):
    target = tmp_path / "target"
    target.write_bytes(b"")
    Path(f"{desk.path}{suffix}").symlink_to(target)
    with pytest.raises(LedgerError):
        desk.open()
    assert target.read_bytes() == b""


def test_a_folder_that_everybody_may_write_is_refused(desk, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    desk.path = folder / "ledger.db"
    with pytest.raises(LedgerError, match="everybody may write"):
        desk.open()


def test_a_lock_that_does_not_lock_is_refused(desk, monkeypatch):
    monkeypatch.setattr(lock, "try_lock", lambda fd, *, shared=False: True)
    with pytest.raises(LedgerError, match="locks do not work"):
        desk.open()


def test_a_holder_that_does_not_let_go_is_an_error_not_a_hang(desk, ledger, monkeypatch):
    fd = lock.open_private(Path(f"{desk.path}.lock"))
    assert lock.try_lock(fd)
    monkeypatch.setattr(lock.acquire, "__defaults__", (0.05,))
    with pytest.raises(LedgerError, match="held the ledger's lock"):
        desk.pay(ledger)
    lock.unlock(fd)
    os.close(fd)
    desk.pay(ledger)


def test_owners_live_and_die(desk, tmp_path):
    first, second = lock.Owners(tmp_path / "o", "a"), lock.Owners(tmp_path / "o", "b")
    assert (first.alive("a"), first.alive("b"), first.alive("c"), first.alive("../a"), first.alive("")) == (
        True, True, False, False, False,
    )  # fmt: skip
    os.close(second.fd)
    second.fd = -1
    assert not first.alive("b")
    assert (tmp_path / "o" / "b").exists()
    assert first.sweep() == 1
    assert [each.name for each in (tmp_path / "o").iterdir()] == ["a"]
    first.close()


def test_asking_whether_a_dead_owner_lives_is_no_sign_of_life(tmp_path):
    folder = tmp_path / "o"
    asker, dead = lock.Owners(folder, "a"), lock.Owners(folder, "b")
    os.close(dead.fd)
    dead.fd = -1
    fd = lock.open_private(folder / "b")
    assert lock.try_lock(fd, shared=True)  # somebody else is asking right now
    assert not asker.alive("b")
    os.close(fd)
    asker.close()


def test_a_newer_schema_is_refused_and_an_old_one_is_kept(desk):
    ledger = desk.open()
    hold = desk.pay(ledger)
    ledger.shut()
    again = desk.open()
    assert again.payment(hold.payment_id).state == "INFLIGHT"
    again.shut()
    db = sqlite3.connect(desk.path)
    db.execute("INSERT INTO x402_schema VALUES (99, 'future')")
    db.commit()
    db.close()
    with pytest.raises(LedgerError, match="schema 99"):
        desk.open()


def test_not_a_database_is_refused(desk):
    desk.path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerError):
        desk.open()


def edit(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE x402_payments SET amount = '1'",
        "UPDATE x402_payments SET micros = 1",
        "UPDATE x402_payments SET state = 'CLAIMED'",
        "UPDATE x402_payments SET nonce = 'x'",
        "UPDATE x402_payments SET to_address = 'x'",
        "UPDATE x402_payments SET last_event = last_event - 1",
        "UPDATE x402_counters SET micros = micros - 1",
        "UPDATE x402_offers SET wire = '[]'",
        "UPDATE x402_counters SET began_at = began_at + 86400",
        "DELETE FROM x402_offers",
    ],
)
def test_a_changed_row_stops_signing_and_is_named(desk, statement):
    ledger = desk.open()
    desk.pay(ledger, desk.ask("/a"), limits=(Limit("all", "day", 10**6),))
    hold = desk.pay(ledger, desk.ask("/b"))
    ledger.close(hold, "UNKNOWN").run()
    ledger.shut()
    edit(desk.path, statement)
    again = desk.open()
    with pytest.raises(LedgerError, match="changed or damaged"):
        again.hold(desk.ask("/c"), desk.offer(), desk.terms(), ()).run()
    assert again.verify()
    assert again.payments()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE x402_events SET data = '{}' WHERE seq = 1",
        "UPDATE x402_events SET at = at + 1 WHERE seq = 2",
        "DELETE FROM x402_events WHERE seq = 2",
        "DELETE FROM x402_payments WHERE id = 1",
    ],
)
def test_verify_walks_the_whole_chain(desk, statement):
    ledger = desk.open()
    for path in ("/a", "/b"):
        hold = desk.pay(ledger, desk.ask(path))
        ledger.close(hold, "CLAIMED").run()
    ledger.flush()
    assert ledger.verify() == []
    ledger.shut()
    edit(desk.path, "DROP TRIGGER x402_events_no_update", "DROP TRIGGER x402_events_no_delete", statement)
    assert desk.open().verify()


def test_events_are_append_only(desk, ledger):
    desk.pay(ledger)
    for statement in ("UPDATE x402_events SET data = ''", "DELETE FROM x402_events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            ledger._store.db.execute(statement)


def test_an_older_copy_of_the_ledger_is_refused(desk):
    ledger = desk.open(journal="full")
    desk.pay(ledger)
    ledger.shut()
    copy = desk.path.read_bytes()
    ledger = desk.open(journal="full")
    desk.pay(ledger, desk.ask("/second"))
    ledger.shut()
    desk.path.write_bytes(copy)
    with pytest.raises(LedgerError, match="older than its own last commit"):
        desk.pay(desk.open())


def test_a_deleted_ledger_is_not_silently_begun_anew(desk):
    ledger = desk.open(journal="full")
    desk.pay(ledger)
    ledger.shut()
    desk.path.unlink()
    with pytest.raises(LedgerError, match="older than its own last commit"):
        desk.pay(desk.open())


def test_a_lost_close_is_no_rollback(desk):
    ledger = desk.open(journal="full")
    hold = desk.pay(ledger)
    ledger.close(hold, "CLAIMED").run()
    desk.crash(ledger)
    assert desk.open().payment(hold.payment_id).outcome == "in_doubt"


def test_no_secret_is_in_the_database(desk):
    ledger = desk.open()
    ask = desk.ask(caller_key=NEEDLE)
    ask.url = f"https://{NEEDLE}:{NEEDLE}@api.example.com/report#{NEEDLE}"
    hold = desk.pay(ledger, ask)
    ledger.close(hold, "CLAIMED").run()
    ledger.flush()
    secret = Path(f"{desk.path}.secret").read_bytes()
    for name in ("ledger.db", "ledger.db-wal"):
        raw = desk.path.with_name(name).read_bytes()
        assert NEEDLE.encode() not in raw
        assert secret not in raw
        assert secret.hex().encode() not in raw
    assert NEEDLE not in repr(ledger.payments())


def test_a_closed_ledger_says_so(desk, ledger):
    ledger.shut()
    ledger.shut()
    with pytest.raises(LedgerError, match="closed"):
        ledger.find(desk.ask(caller_key="k"))


def test_a_forked_child_reopens_and_leaves_the_parent_alone(desk, ledger):
    hold = desk.pay(ledger, desk.ask("/parent"))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            made = desk.pay(ledger, desk.ask("/child"))
            alive = ledger.find(desk.ask("/parent")).run() is None
            ledger.flush()
            os.write(write, f"{made.payment_id} {alive}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    child, alive = os.read(read, 1000).decode().split()
    os.close(read)
    os.close(write)
    assert alive == "True"  # the parent's payment is under way, seen from the child
    assert ledger.payment(child).state == "INFLIGHT"
    assert ledger.find(desk.ask("/child")).run().payment_id == child  # the child is gone
    ledger.close(hold, "CLAIMED").run()
    desk.pay(ledger, desk.ask("/parent"))
    assert ledger.verify() == []


def test_a_child_that_outlives_its_parent_does_not_keep_it_alive(desk):
    script = """
import os, sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from x402_agent.ledger import SqliteLedger
ledger = SqliteLedger(Path({ledger!r}), journal="normal")
if os.fork() == 0:
    for fd in (0, 1, 2):
        os.close(fd)
    time.sleep(30)
    os._exit(0)
print(ledger._store.owner, flush=True)
os._exit(0)
"""
    source = script.format(path=sys.path, ledger=str(desk.path))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=25)
    assert not desk.open()._store.owners.alive(done.stdout.strip())


FULL_DISK = """
import resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from x402_agent.errors import LedgerError
from x402_agent.ledger import SqliteLedger
sys.path.insert(0, {tests!r})
from conftest import Desk
desk = Desk(Path({folder!r}))
import time
desk.clock = time.time
class Now:
    now = time.time()
    def __call__(self): return self.now
desk.clock = Now()
ledger = desk.open(journal="full")
desk.pay(ledger, desk.ask("/0"))
size = Path(str(desk.path) + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + {room}, size + {room}))
for number in range(1, 200):
    try:
        print(desk.pay(ledger, desk.ask(f"/{{number}}")).payment_id, flush=True)
    except LedgerError as cause:
        print("LedgerError", cause.what[:60], file=sys.stderr)
        break
else:
    raise SystemExit("the disk was never full")
for number in range(3):
    try:
        desk.pay(ledger, desk.ask(f"/again{{number}}"))
        raise SystemExit("acknowledged on a full disk")
    except LedgerError:
        pass
import os
os._exit(0)
"""


@pytest.mark.parametrize("room", [10_000, 60_000])
def test_a_full_disk_acknowledges_nothing_and_loses_nothing(desk, room):
    source = FULL_DISK.format(path=sys.path, tests=str(Path(__file__).parent), folder=str(desk.folder), room=room)
    done = nursery.run(source)
    assert (done.returncode, "LedgerError" in done.stderr) == (0, True), done.stderr
    import time

    desk.clock.now = time.time()
    ledger = desk.open()
    rows = {payment.payment_id for payment in ledger.payments()}
    acked = set(done.stdout.split())
    assert acked <= rows
    assert ledger.verify() == []


def test_a_failed_write_is_an_error_for_each_job_of_the_batch_and_memory_forgets(desk, ledger, monkeypatch):
    desk.pay(ledger)
    plans = [ledger.hold(desk.ask(f"/{n}"), desk.offer(), desk.terms(), ()).run() for n in range(3)]
    real = ledger._store.db

    class Broken:
        def execute(self, statement, *values):
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return real.execute(statement, *values)

    ledger._store.db = Broken()
    for plan in plans:
        with pytest.raises(LedgerError):
            ledger.commit(plan).run()
    ledger._store.db = real
    with pytest.raises(LedgerError, match="failed"):  # after a failed fsync nothing is known: only a new start helps
        ledger.commit(plans[0]).run()
    with pytest.raises(LedgerError, match="new process"):  # Z7: opening the file again shows only what memory holds
        desk.pay(desk.open())
    monkeypatch.setattr("x402_agent.ledger.store._FAILED", {})  # as in a new process
    fresh = desk.open()
    assert len(fresh.payments()) == 1
    assert fresh.verify() == []


def test_errors_are_ours(desk):
    assert issubclass(LedgerError, PaymentError)
    assert SqliteLedger.__doc__
