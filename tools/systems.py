"""docs/systems.md: every feature of every system, on both sides, made of the tables in the pages of each.

    python tools/systems.py             how many features have which result, and what is wrong with the tables
    python tools/systems.py --write     writes the page

A feature is a row of a table `| feature | what becomes of it | test |` in a page of PAGES, and is written nowhere else. How its middle cell begins
says the result: `refused` (or `not paid`), `left out` (or `not read`, `not asked`, `not used`, `not for`), else it works, in whatever way the cell says; what no test speaks of is
left out, unless it says that it works. What works or is refused names a test; what is refused or left out says why. A page of PAGES that does not exist yet is passed over. tests/test_systems.py fails when the page and the tables differ.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "RESULTS", "Feature", "features", "page", "scenarios", "wrong"]

ROOT = Path(__file__).parent.parent
SHOWN = "docs/systems.md"
PAGES = {  # system: the page of who pays it, the page of who is paid in the sandbox
    "x402": ("docs/wire/x402.md", "docs/wire/x402-seller.md"),
    "KAMIYO": ("docs/kamiyo.md", "docs/wire/kamiyo-seller.md"),
    "x402Pay": ("docs/x402pay.md", "docs/wire/x402pay-seller.md"),
    "Lily": ("docs/lily.md", "docs/wire/lily-seller.md"),
    "TRON invoices": ("docs/tron-invoices.md", "docs/wire/tron-monitor-seller.md"),
}
SIDES = ("paid", "served")
RESULTS = {"refused": r"refused|not paid|never paid", "left out": r"left out|not (?:read|asked|used|kept|for)\b", "works": ""}
HEAD = """# What works with whom

Made by `python tools/systems.py --write` of the tables in the pages that it names: a feature is changed there. *Paid* is what this package does where it is asked for
money, *served* what the sandbox's seller of that system does. Each row's test would fail if the row were wrong; `refused` is on purpose, and why stands beside it.
Which chains each way of paying stands on is the matrix of the [README](../README.md#what-it-speaks-now).
"""


class Feature(NamedTuple):
    """One row: `part` is the heading that its table stands under, `tests` are (name, path from the root)."""

    system: str
    side: str
    part: str
    name: str
    says: str
    tests: tuple[tuple[str, str], ...]
    path: str

    @property
    def result(self) -> str:
        """works, refused or left out."""
        found = next(word for word, opening in RESULTS.items() if re.match(opening, self.says, re.IGNORECASE))
        return "left out" if found == "works" and not self.tests and not self.says.startswith("works") else found


def features(root: Path = ROOT) -> list[Feature]:
    """Every row of every page that there is, in the order of PAGES."""
    found: list[Feature] = []
    for system, paths in PAGES.items():
        for side, path in zip(SIDES, paths, strict=True):
            if (root / path).exists():
                found += _rows(system, side, path, (root / path).read_text("utf-8"))
    return found


def _rows(system: str, side: str, path: str, text: str) -> list[Feature]:
    part, inside, found = "", False, list[Feature]()
    for line in text.splitlines():
        cells = [each.strip() for each in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("## "):
            part = line[3:]
        if len(cells) != 3 or not line.startswith("|"):
            inside = False
        elif cells[0].lower() == "feature":
            inside = True
        elif inside and not set(line) <= set("|- "):
            last = found[-1].tests if found and cells[2] == "the same" else ()
            tests = tuple((name, _from_root(path, target)) for name, target in re.findall(r"\[(test_\w+)(?:\.py)?\]\(([^)]+)\)", cells[2]))
            found.append(Feature(system, side, part, _moved(path, cells[0]), _moved(path, cells[1]), last or tests, path))
    return found


def _from_root(path: str, target: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(path), target))


def _moved(path: str, cell: str) -> str:
    """A cell with its links as they are from the page that is made."""

    def moved(link: re.Match[str]) -> str:
        target, hash_, anchor = link[1].partition("#")
        there = _from_root(path, target) if target else path
        return f"]({os.path.relpath(there, os.path.dirname(SHOWN))}{hash_}{anchor})"

    return re.sub(r"\]\((?!\w+://)([^)]+)\)", moved, cell)


def scenarios(root: Path, path: str) -> int:
    """How many scenarios a seller has by its page, `honest` among them as in `sandbox sellers`; 0 where it lists none."""
    text = (root / path).read_text("utf-8").partition("\n## Scenarios\n")[2].partition("\n## ")[0]
    listed = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    return len(listed | {"honest"}) if listed else 0


def wrong(found: list[Feature], root: Path = ROOT) -> list[str]:
    """What is wrong with the tables, in words."""
    said, seen = [], set()
    for each in found:
        where = f"{each.path}: {each.name}"
        if (each.path, each.part, each.name) in seen:
            said.append(f"{where}: twice")
        seen.add((each.path, each.part, each.name))
        if each.result != "left out" and not each.tests:
            said.append(f"{where}: {each.result}, and no test says so")
        why = re.sub(rf"^(?:{RESULTS[each.result]})|\\([^)]*\\)", "", each.says)
        if each.result != "works" and len(why.strip(" ,.:;")) < 10:
            said.append(f"{where}: {each.result}, and nobody says why")
        for name, path in each.tests:
            text = (root / path).read_text("utf-8") if (root / path).exists() else ""
            if not (re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE) or (text and Path(path).stem == name)):
                said.append(f"{where}: {path} has no {name}")
    return said


def page(found: list[Feature], root: Path = ROOT) -> str:
    """The whole page."""
    lines = [HEAD, "| system | | works | refused | left out | scenarios of its seller |", "|---|---|---|---|---|---|"]
    for (system, side), group in groupby(found, lambda each: each[:2]):
        rows = list(group)
        counts = " | ".join(str(sum(each.result == word for each in rows)) for word in ("works", "refused", "left out"))
        played = scenarios(root, rows[0].path) if side == "served" else 0
        linked = f"[{played}]({os.path.relpath(rows[0].path, os.path.dirname(SHOWN))}#scenarios)" if played else ""
        lines.append(f"| [{system}](#{_anchor(f'{system}, {side}')}) | {side} | {counts} | {linked} |")
    for (system, side), group in groupby(found, lambda each: each[:2]):
        rows = list(group)
        lines += ["", f"## {system}, {side}", "", f"From [its page]({os.path.relpath(rows[0].path, os.path.dirname(SHOWN))}).", ""]
        lines += ["| | feature | result | how, or why not | test |", "|---|---|---|---|---|"]
        part = ""
        for each in rows:
            lines.append(f"| {each.part if each.part != part and side == 'paid' else ''} | {each.name} | {_bold(each.result)} | {_rest(each)} | {_tests(each)} |")
            part = each.part
    return re.sub(" +", " ", "\n".join(lines)) + "\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _bold(result: str) -> str:
    return result if result == "works" else f"**{result}**"


def _rest(each: Feature) -> str:
    """The cell without the word that the result's own column says."""
    return re.sub(rf"^{each.result}\b[,:;]?\s*", "", each.says)


def _tests(each: Feature) -> str:
    return ", ".join(f"[{name}]({os.path.relpath(path, os.path.dirname(SHOWN))})" for name, path in each.tests)


def main() -> int:
    """Show, or write; -> exit code."""
    found = features()
    if "--write" in sys.argv[1:]:
        (ROOT / SHOWN).write_text(page(found), "utf-8")
        return 0
    for (system, side), group in groupby(found, lambda each: each[:2]):
        rows = list(group)
        print(f"{system:14} {side:7}" + "".join(f"{sum(each.result == word for each in rows):4} {word}" for word in RESULTS))
    for line in wrong(found):
        print(line)
    return 1 if wrong(found) else 0


if __name__ == "__main__":
    sys.exit(main())
