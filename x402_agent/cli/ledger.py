"""`x402-agent ledger`: is it whole, what is in it, and what to do when it is not. By a person."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import LedgerError, Settings, SettingsError
from ..ledger import Mended, SqliteLedger, Verdict, end_quarantine, note_path, repair, trial, verdict
from ..policy import dollars, load, micros
from ..secret import plain
from .common import Exit, Json, as_json, errors
from .writing import Form, form, target, write

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app"]

SHOWN = 20
DOLLAR = 1_000_000  # counted for what cannot be read, where policy has no cap for one call
app = typer.Typer(
    help="The ledger itself: prove it, count it, give it out, mend it.\n\n"
    "Every command is about the ledger that pays (X402_AGENT_LEDGER, or `x402-agent log --path`), with --sandbox about the "
    "sandbox's. Exit codes: 0 all is well, 1 it is not.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Box = Annotated[bool, typer.Option("--sandbox", help="The sandbox's ledger.")]


@contextmanager
def opened(sandbox: bool) -> Iterator[SqliteLedger]:
    """The ledger that is meant; raises LedgerError when there is none."""
    settings = Settings.load()
    path = settings.sandbox_ledger if sandbox else settings.ledger_path
    notes = None if sandbox else settings.notes_path
    if not path.exists() and (notes is None or not note_path(notes, path).exists()):
        raise LedgerError(f"there is no ledger at {path}: nothing was paid yet", hint="x402-agent try")
    ledger = SqliteLedger(path, sandbox=sandbox, notes=notes)
    try:
        yield ledger
    finally:
        ledger.shut()


@app.command("verify", short_help="Walk the whole journal.")
def verify(sandbox: Box = False, json: Json = False) -> None:
    """Walk every entry, row, counter and seal. Exit 0 when all is well, 1 with what is wrong in words.

    Opening a ledger reads from its last checkpoint on; this reads everything: minutes for a million payments.
    """
    with errors(json), opened(sandbox) as ledger:
        start = time.monotonic()
        problems = ledger.verify(_progress() if sys.stderr.isatty() and not json else None)
        path, entries = ledger.path, ledger.entries()
    if json:
        as_json({"path": str(path), "ok": not problems, "entries": entries, "problems": problems})
    elif problems:
        for each in problems[:SHOWN]:
            print(each)
        if len(problems) > SHOWN:
            print(f"and {len(problems) - SHOWN} more")
        print("try: x402-agent ledger repair --dry-run")
    else:
        print(f"{path}: {entries} entries, every one follows from the one before ({time.monotonic() - start:.1f} s)")
    raise typer.Exit(Exit.FAILED if problems else Exit.OK)


def _progress() -> Any:
    """A line that counts, on a terminal."""

    def show(done: int, entries: int) -> None:
        sys.stderr.write("\r\x1b[K" if done >= entries else f"\r{done} of {entries} entries")
        sys.stderr.flush()

    return show


@app.command("repair", short_help="Mend a damaged ledger; nothing becomes free.")
def mend(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    per_call: Annotated[str, typer.Option("--per-call", help="What each row that cannot be read counts, in dollars.")] = "",
    sandbox: Box = False,
    json: Json = False,
) -> None:
    """Mend a ledger that is damaged or older than its own last commit; first see what --dry-run says.

    The old files are kept in a folder beside it. Rows that the journal proves are kept or made anew from it. Any other payment
    goes into QUARANTINE: it counts what it says and at least one per-call cap, and its proof is never shown again. What
    nobody can read counts one cap for each row or entry; such a payment may be bought a second time, so ask your sellers.
    """
    with errors(json):
        settings = Settings.load()
        path, notes = (settings.sandbox_ledger, None) if sandbox else (settings.ledger_path, settings.notes_path)
        cap = micros(per_call, "--per-call") if per_call else load(settings.policy_path).per_call or DOLLAR
        plan = repair(path, cap=cap, sandbox=sandbox, notes_path=notes, dry_run=True)
        if plan.problems and not dry_run:
            if not json:
                _told(plan)
            if not yes:
                _ask(path)
            plan = repair(path, cap=cap, sandbox=sandbox, notes_path=notes)
        if json:
            as_json({"path": str(path), "dry_run": dry_run, **asdict(plan), "before": dict(plan.before), "after": dict(plan.after)})
        elif not plan.problems:
            print(f"{path}: nothing is to be mended")
        elif dry_run:
            _told(plan)
        else:
            print(f"mended; the old files are in {plan.backup}")


def _told(plan: Mended) -> None:
    """What would be done, for people."""
    for each in plan.problems[:SHOWN]:
        print(f"  wrong       {each}")
    if len(plan.problems) > SHOWN:
        print(f"  wrong       and {len(plan.problems) - SHOWN} more")
    print(f"  kept        {plan.kept} payments as they are")
    for name in plan.rebuilt[:SHOWN]:
        print(f"  made anew   {name} from its journal")
    for name, counted, why in plan.quarantined[:SHOWN]:
        print(f"  quarantine  {name} counts {dollars(counted)} USD: {why}")
    print(f"  unreadable  {plan.lost} rows or entries, {dollars(plan.lost_micros)} USD counted for them")
    for realm, counted in plan.after:
        print(f"  counted     {dollars(dict(plan.before).get(realm, 0))} -> {dollars(counted)} USD ({realm})")


def _ask(path: Path) -> None:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise SettingsError("a person mends a ledger", rule="ledger repair asks", hint="x402-agent ledger repair --yes")
    if input(f"mend {path} so? [y/N] ").strip().lower() not in ("y", "yes"):
        raise SettingsError("nothing was changed", rule="ledger repair asks")


@app.command("decide", short_help="End the quarantine of one payment.")
def decide(
    payment: Annotated[str, typer.Argument(help="A payment id, or at least 4 characters of its start.")],
    paid: Annotated[bool | None, typer.Option("--paid/--not-paid", help="What the seller, or the chain's explorer, told you.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what you would accept.")] = False,
    yes: Annotated[bool, typer.Option("--yes-i-accept", help="Accept it without being asked.")] = False,
    sandbox: Box = False,
    json: Json = False,
) -> None:
    """Say whether a payment in QUARANTINE was paid. Nothing but a person can: its row is damaged, so its nonce proves nothing.

    Paid, it stays counted. Not paid, it stops being counted, which is refused while a proof of it may settle. Either way its
    request may be bought again. A sealed checkpoint follows at once, and the head is written beside the ledger and into its note.
    """
    with errors(json), opened(sandbox) as ledger:
        if paid is None:
            raise SettingsError("was it paid?", rule="ledger decide", hint=f"x402-agent ledger decide {payment[:16]} --paid (or --not-paid)")
        made = verdict(ledger, payment, paid=paid)
        name = made.payment.payment_id
        if not json:
            _accepted(made)
        if not (dry_run or yes):
            _typed(name)
        state = made.payment.state if dry_run else end_quarantine(ledger, made).state
        if json:
            as_json({"payment_id": name, "before": made.payment.state, "after": state, "dry_run": dry_run,
                     "counted_before": made.before, "counted_after": made.after, "accepts": list(made.accepts)})  # fmt: skip
        elif not dry_run:
            print(f"{name}  {made.payment.state} -> {state}")


def _accepted(made: Verdict) -> None:
    one = made.payment
    print(f"{one.payment_id}  {plain(one.note, 200)}")
    print(f"  asked       {plain(f'{one.method} {one.url}'.strip() or 'nobody can read it', 300)}")
    print(f"  counted     {dollars(made.before)} -> {dollars(made.after)} USD")
    for each in made.accepts:
        print(f"  you accept  {plain(each, 400)}")


def _typed(name: str) -> None:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise SettingsError("a person ends a quarantine", rule="ledger decide asks", hint=f"x402-agent ledger decide {name[:8]} … --yes-i-accept")
    if input(f"type {name[:8]} to accept: ").strip() != name[:8]:
        raise SettingsError("nothing was changed", rule="ledger decide asks", hint=f"the same command, then {name[:8]}")


@app.command("export", short_help="Every payment as JSON lines or CSV.")
def export(
    format: Form = "jsonl",  # noqa: A002 - the option's name
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file, made 0600; otherwise stdout.")] = None,
    since: Annotated[str, typer.Option(help="From this UTC day on: 2026-11-21.")] = "",
    events: Annotated[bool, typer.Option("--events", help="The journal's entries with their hashes, instead of payments.")] = False,
    sandbox: Box = False,
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Write out every payment, oldest first: amounts as text in atomic units, micros in millionths of a dollar, unix seconds.

    Keys, proofs and tokens are not in the ledger. In CSV what a spreadsheet would take for a formula begins with an apostrophe.
    """
    with errors(json):
        form(format, machine=json)
        if since and (len(since) != 10 or not since.replace("-", "").isdigit()):
            raise SettingsError(f"{since[:20]!r} is no day", rule="--since", hint="--since 2026-11-21")
        with opened(sandbox) as ledger, target(output) as file:
            records = ledger.export_events() if events else ledger.export(since=since)
            count = write(file, records, format)
        if output is not None:
            sys.stderr.write(f"{count} {'entries' if events else 'payments'} in {output}\n")


@app.command("stats", short_help="The ledger in numbers.")
def stats(sandbox: Box = False, json: Json = False) -> None:
    """Counts and sums by state, size, entries, checkpoints, the oldest payment that is open."""
    with errors(json), opened(sandbox) as ledger:
        found = ledger.stats()
        if json:
            counted = [{**asdict(each), "counted": each.counted} for each in found.standing]
            as_json({"path": str(ledger.path), **asdict(found), "standing": counted})
            return
        print(f"{ledger.path}: {found.size / (1 << 20):.1f} MiB, schema {found.schema}, {found.entries} entries, "
              f"{found.checkpoints} checkpoints")  # fmt: skip
        for each in found.standing:
            print(f"  {each.realm:8} {each.state:16} {each.payments:8}   counted {dollars(each.counted):>12} USD   open {each.open}")
        if found.oldest_open:
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.oldest_open_at))
            print(f"  the oldest that is open is of {at}: x402-agent why {found.oldest_open[:8]}")


@app.command("cleanup", short_help="Throw away what has expired.")
def cleanup(sandbox: Box = False, json: Json = False) -> None:
    """Throw away expired credentials, counters of windows that are over, hourly sums of more than a year ago.

    Payments and entries of the journal stay, for ever.
    """
    with errors(json), opened(sandbox) as ledger:
        gone = ledger.cleanup()
        if json:
            as_json({"removed": gone})
        else:
            print(f"{gone} rows and files were thrown away; every payment and entry is still there")


@app.command("test", short_help="Can this machine keep a ledger?")
def try_out(json: Json = False) -> None:
    """Prove lock, fsync, disk and clock with a throw-away ledger beside the real one. Exit 1 when one of them fails."""
    with errors(json):
        checks = trial(Settings.load().ledger_path)
    if json:
        as_json([{"check": name, "ok": ok, "said": said} for name, ok, said in checks])
    else:
        for name, ok, said in checks:
            print(f"{'ok  ' if ok else 'FAIL'}  {name:10} {said}")
    raise typer.Exit(Exit.OK if all(ok for _, ok, _ in checks) else Exit.FAILED)
