"""Looking for secrets wherever a program shows things: texts, reprs, pickles, and tracebacks with the locals of each frame."""

from __future__ import annotations

import base64
import io
import logging
import pickle
import traceback
from contextlib import suppress

from rich.console import Console
from rich.pretty import pretty_repr

OWN = "needles.py", "test_needles.py"


def spellings(secret):
    """The ways in which a secret may turn up: as text, hex, base64, a Python literal, a decimal number."""
    data = secret.encode() if isinstance(secret, str) else secret
    found = {data.hex(), data.hex().upper(), base64.b64encode(data).decode().rstrip("=")[:-1]}
    if isinstance(secret, str):
        found.add(secret)
    else:
        found |= {repr(data)[2:-1], str(int.from_bytes(data, "big")), ", ".join(map(str, data))}
    return found


class Needles:
    """Named secrets, and a search for them."""

    def __init__(self, **secrets):
        self.secrets = {}
        for name, secret in secrets.items():
            self.add(name, secret)

    def add(self, name, secret):
        self.secrets[name] = spellings(secret)
        if isinstance(secret, str) and len(words := secret.split()) >= 12:
            self.secrets[name] |= {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}

    def within(self, text):
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        return sorted(name for name, ways in self.secrets.items() if any(way in text for way in ways))


def frames(error, seen=None):
    """Every frame of an exception and of those behind it, whether they are shown or not."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield frame
    for behind in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from frames(behind, seen)


def shown(error):
    """(where, text) for all that an error can show: itself, its chain, and the locals of its frames, by repr and by rich."""
    yield "error", "".join(traceback.format_exception(error)) + repr(error) + repr(error.args) + repr(vars(error))
    for frame in frames(error):
        if frame.f_code.co_filename.endswith(OWN):
            continue
        for name, value in dict(frame.f_locals).items():
            where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}:{name}"
            with suppress(Exception):  # an object half made
                yield where, f"{value!r} {value!s}"
                yield where, pretty_repr(value, max_depth=6)


def leaks(error, needles):
    """What an error shows of the needles: lines of where and which."""
    return sorted(
        {f"{where} shows {', '.join(found)}" for where, text in shown(error) if (found := needles.within(text))}
    )


def looks(value):
    """All the ways in which one object is shown or kept."""
    console = Console(file=io.StringIO(), width=200)
    console.print(value)
    texts = [repr(value), str(value), f"{value}", pretty_repr(value), console.file.getvalue()]
    texts.append(repr(getattr(value, "__dict__", {})))
    try:
        texts.append(pickle.dumps(value).decode("latin-1"))
    except Exception as why:
        texts.append(f"{why!r}")
    return "\n".join(texts)


class Records(logging.Handler):
    """Every log record of every logger at DEBUG while its block runs, as text, its arguments and its traceback too."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.text = ""

    def __enter__(self):
        root = logging.getLogger()
        self.before = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_):
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self.before)

    def emit(self, record):
        self.text += f"{record.getMessage()} {record.args!r} {vars(record)!r}\n"
        if record.exc_info and record.exc_info[1]:
            self.text += "".join(traceback.format_exception(record.exc_info[1]))
