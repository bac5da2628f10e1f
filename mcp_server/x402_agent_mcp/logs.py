"""What is logged goes to stderr, one line each, and says of an exception only what kind it was: stdout belongs to the
protocol, and an exception's text or frames may quote what must not be shown."""

from __future__ import annotations

import logging
import sys
import traceback

__all__ = ["Line", "to_stderr"]

MOST = 500


class Line(logging.Formatter):
    """Time, level, who, what; harmless for a terminal whatever it quotes."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            last = traceback.extract_tb(record.exc_info[2])[-1:]
            text += f": {record.exc_info[0].__name__}" + "".join(f" in {frame.name}, line {frame.lineno}" for frame in last)
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower()} {record.name}: {text}"
        line = line if len(line) <= MOST else line[:MOST] + "…"
        return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in line)


def to_stderr(level: int = logging.WARNING) -> None:
    """Take over the root logger, before the SDK or a library gives it a handler of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in ("httpx", "httpx2", "httpcore", "httpcore2"):  # their lines quote whole URLs, which may hold a node's key
        logging.getLogger(name).setLevel(logging.ERROR)
