"""Children that are born knowing the package: `run(code, *argv)` is `python -c code *argv` without the time of its imports.

A helper process imports once, and forks for each call: the child is a process of its own that can be killed, exits, prints
and reads as any other. What is about importing itself (its weight, its contacts, its warnings) does not belong here.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

__all__ = ["cli", "run"]

KNOWN = ("coincurve", "Crypto.Cipher.AES", "Crypto.Hash.RIPEMD160", "Crypto.PublicKey.ECC", "sha3", "httpx", "httpx2", "anyio._backends._asyncio",
         "sqlite3", "typer._adapters", "platformdirs", "tenacity", "x402_agent.payer", "x402_agent.ledger", "x402_agent.wallet", "x402_agent.sandbox",
         "x402_agent.recovery", "x402_agent.cli.app")  # fmt: skip
_lock = threading.Lock()
_helpers: dict[int, Path] = {}  # by process: a fork has a helper of its own


def run(code, *argv, input="", env=None, timeout=120, check=False, warn=""):  # noqa: A002 - as in subprocess
    """-> CompletedProcess with text. `env` stands for the whole environment; `warn="error"` is python's -W."""
    with tempfile.TemporaryDirectory(prefix="x402-") as folder, socket.socket(socket.AF_UNIX) as line:
        files = [str(Path(folder, name)) for name in ("in", "out", "err")]
        Path(files[0]).write_text(input, "utf-8")
        line.settimeout(timeout)
        line.connect(str(_helper()))
        told = {"code": code, "argv": ["-c", *map(str, argv)], "env": dict(os.environ if env is None else env), "cwd": os.getcwd(),
                "files": files, "warn": warn, "path": sys.path}  # fmt: skip
        line.sendall(json.dumps(told).encode() + b"\n")
        with line.makefile("rb") as answers:
            pid = int(answers.readline())
            try:
                status = int(answers.readline())
            except TimeoutError:
                os.kill(pid, 9)
                raise subprocess.TimeoutExpired(code, timeout, Path(files[1]).read_bytes(), Path(files[2]).read_bytes()) from None
        done = subprocess.CompletedProcess([sys.executable, "-c", code, *argv], status, *(Path(each).read_text("utf-8") for each in files[1:]))
    if check:
        done.check_returncode()
    return done


def cli(*words, **options):
    """The command line."""
    return run("from x402_agent.cli import main; main()", *words, **options)


def _helper():
    with _lock:
        if os.getpid() not in _helpers:
            folder = Path(tempfile.mkdtemp(prefix="x402-"))
            process = subprocess.Popen([sys.executable, __file__, str(folder / "s")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert process.stdout.readline() == b"ready\n"
            atexit.register(_end, os.getpid(), process, folder)
            _helpers[os.getpid()] = folder / "s"
        return _helpers[os.getpid()]


def _end(pid, process, folder):
    if pid == os.getpid():
        process.terminate()
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def _serve(path):
    for name in KNOWN:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else [0]) == 1  # a thread would not be forked along
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(64)
        os.write(1, b"ready\n")
        while True:
            line, _ = door.accept()
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) if _children else None:
                _children.pop()
            if os.fork():
                _children.append(1)
                line.close()
                continue
            door.close()
            _watch(line)


_children: list[int] = []


def _watch(line):
    """One call: beget its child, say its name and how it ended."""
    told = json.loads(line.makefile("rb").readline())
    if not (pid := os.fork()):
        line.close()
        _live(told)
    line.sendall(b"%d\n" % pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):  # nobody waits any more
        line.sendall(b"%d\n" % status)
    os._exit(0)


def _live(told):
    """Be `python -c`."""
    for number, name in enumerate(told["files"]):
        fd = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False), "utf-8")
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), "utf-8")
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), "utf-8", "backslashreplace", write_through=True)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    sys.argv, sys.path[:] = told["argv"], told["path"]
    if told["warn"]:
        sys.warnoptions[:] = [told["warn"]]
        warnings.simplefilter(told["warn"])
    code = 0
    try:
        exec(compile(told["code"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code & 255)


if __name__ == "__main__":
    _serve(sys.argv[1])
