"""A child process whose writes and sends are counted by the kernel, and which dies by SIGKILL at the one that is asked for.

Linux only (ptrace). Every thread of the child is watched. Source: ptrace(2), PTRACE_GET_SYSCALL_INFO.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
OPTIONS = 1 | 8 | 0x100000  # TRACESYSGOOD, TRACECLONE, EXITKILL
ALL_THREADS = 0x40000000  # __WALL
O_CREAT = 0o100
CALLS = {  # system call numbers: what changes a file, or sends
    "x86_64": {
        1: "write", 18: "pwrite", 20: "writev", 44: "send", 46: "send", 74: "fsync", 75: "fdatasync", 77: "truncate",
        82: "rename", 87: "unlink", 257: "create", 263: "unlink", 264: "rename", 316: "rename",
    },
    "aarch64": {
        64: "write", 68: "pwrite", 66: "writev", 206: "send", 211: "send", 82: "fsync", 83: "fdatasync", 46: "truncate",
        38: "rename", 35: "unlink", 56: "create", 276: "rename",
    },
}.get(platform.machine(), {})  # fmt: skip
if sys.platform != "linux":
    CALLS = {}
libc: Any = ctypes.CDLL(None, use_errno=True) if CALLS else None
if CALLS:
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long


class Info(ctypes.Structure):
    """struct ptrace_syscall_info: op 1 is entry (number, arguments), 2 is exit."""

    _fields_ = (
        ("op", ctypes.c_uint8), ("pad", ctypes.c_uint8 * 3), ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64), ("nr", ctypes.c_uint64), ("args", ctypes.c_uint64 * 6),
    )  # fmt: skip


class Watched(NamedTuple):
    """What the child did until it ended: the points that it passed, and whether it was killed at the last one."""

    points: list[str]
    killed: bool
    status: int


def able() -> bool:
    """Whether this system lets a process watch its child: tried in another process, which has no other children."""
    return bool(CALLS) and subprocess.run([sys.executable, __file__], capture_output=True, check=False).returncode == 0


def watched(work: Callable[[], object], kill_at: int) -> Watched:
    """Do `work` in a forked child and kill it at point `kill_at` (from 1; 0: never)."""
    pid = os.fork()
    if pid == 0:
        _child(work)
    os.waitpid(pid, 0)
    _ptrace(SETOPTIONS, pid, 0, OPTIONS)
    _ptrace(SYSCALL, pid, 0, 0)
    points: list[str] = []
    calls: dict[int, str] = {}  # of each thread: the call that it is in
    killed = False
    while True:
        thread, status = os.waitpid(-1, ALL_THREADS)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                return Watched(points, killed, os.waitstatus_to_exitcode(status))
            continue
        number = os.WSTOPSIG(status)
        if number == signal.SIGTRAP | 0x80:
            point = _point(thread, calls)
            if point and not killed:
                points.append(point)
                if len(points) == kill_at:
                    os.kill(pid, signal.SIGKILL)
                    killed = True
                    continue
            number = 0
        elif status >> 16 or number == signal.SIGSTOP:  # a new thread
            number = 0
        _ptrace(SYSCALL, thread, 0, number, gone=True)


def _child(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        libc.ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _point(thread: int, calls: dict[int, str]) -> str:
    """The point that a thread stands at: before a write, before a send, after a send; else ""."""
    info = Info()
    size = ctypes.sizeof(info)
    if libc.ptrace(GET_SYSCALL_INFO, thread, size, ctypes.addressof(info)) <= 0:
        return ""  # it is dying
    if info.op == 2:
        return "sent" if calls.pop(thread, "") == "send" else ""
    name = CALLS.get(info.nr, "")
    if (name == "create" and not info.args[2] & O_CREAT) or (name == "write" and info.args[0] in (1, 2)):
        name = ""
    calls[thread] = name
    return name


def _ptrace(request: int, pid: int, address: int, data: int, *, gone: bool = False) -> None:
    if libc.ptrace(request, pid, address, data) < 0 and not gone:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(watched(lambda: None, 0).status)
