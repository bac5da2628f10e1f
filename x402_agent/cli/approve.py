"""`x402-agent approve`: a person's side of `[approval] how = "file"`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from .. import PolicyDenied, Settings
from ..approvals import Waiting, answer, lines, waiting
from .common import Json, as_json, errors

__all__ = ["app"]

app = typer.Typer(
    help="Answer payments that wait for a person.\n\n"
    'They wait here when policy.toml says [approval] how = "file". Each request is about one offer of one payment, for a\n'
    "short time; an answer counts for that request alone. These commands are a person's: whoever runs them as the user who\n"
    "holds the key says yes in your name, so let no agent do it.",
    no_args_is_help=True,
)
_ID = Annotated[str, typer.Argument(metavar="ID", help="The id of a request, or at least 4 characters of its start.")]


@app.command("list", short_help="What waits for an answer.")
def list_(json: Json = False) -> None:
    """What waits for an answer, the oldest first. Exit code 0, also when nothing waits."""
    with errors(json):
        now = time.time()
        found = waiting(Settings.load().approvals, now)
        if json:
            as_json([_facts(each, now) for each in found])
            return
        for each in found:
            print(f"{each.id}  {int(each.expires - now):4} s  {lines(each.facts)[0].split(None, 1)[1]}  {lines(each.facts)[2].strip()}")
        if not found:
            print("nothing waits for an answer")


@app.command("show", short_help="One request, whole.")
def show(request: _ID, json: Json = False) -> None:
    """All that is known of one request: amount, payee, what for, why you are asked, and what each limit still allows."""
    with errors(json):
        now, found = time.time(), _found(request)
        if json:
            as_json(_facts(found, now))
            return
        print(f"{found.id}   {int(found.expires - now)} s left")
        print("\n".join(lines(found.facts)))
        print(f"  try        x402-agent approve yes {found.id}   (or: no)")


@app.command("yes", short_help="Let it be paid, once.")
def yes(request: _ID, json: Json = False) -> None:
    """Say yes to one request, as `show` shows it. Exit code 3 when it is over or has been answered already."""
    _answer(request, json, yes=True)


@app.command("no", short_help="Let it not be paid.")
def no(request: _ID, json: Json = False) -> None:
    """Say no to one request: nothing is signed, and its budget is free again at once."""
    _answer(request, json, yes=False)


def _answer(request: str, json: bool, *, yes: bool) -> None:
    with errors(json):
        folder, found = Settings.load().approvals, _found(request)
        if not answer(folder, found, yes=yes):
            raise PolicyDenied(f"request {found.id} has been answered already", rule="one answer for one request", hint="x402-agent approve list")
        taken = _taken(found)
        if json:
            as_json({"id": found.id, "answer": "yes" if yes else "no", "taken": taken, "payment_id": found.facts["payment_id"]})
            return
        print("\n".join(lines(found.facts)))
        said = "approved" if yes else "refused"
        print(f"{said}, once" if taken else f"{said}; the process that asked has not taken it yet")
        print(f"  try        x402-agent why {found.facts['payment_id'][:8]}")


def _taken(found: Waiting) -> bool:
    """Whether the process that asked has taken the answer: it then removes both files. Waits two seconds at most."""
    folder = Settings.load().approvals
    for _ in range(20):
        if not (folder / f"{found.id}.answer").exists():
            return True
        time.sleep(0.1)
    return False


def _found(prefix: str) -> Waiting:
    found = [each for each in waiting(Settings.load().approvals, time.time()) if each.id.startswith(prefix)]
    if len(prefix) < 4 or len(found) != 1:
        raise PolicyDenied(
            f"{'more than one request begins' if len(found) > 1 else 'no request that waits begins'} with {prefix[:16]!r}",
            rule="an answer is for one request that still waits", hint="x402-agent approve list",
        )  # fmt: skip
    return found[0]


def _facts(each: Waiting, now: float) -> dict[str, Any]:
    return {"id": each.id, **each.facts, "seconds": max(0, int(each.expires - now))}
