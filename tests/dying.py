"""For children that die at a chosen point: functions that send SIGKILL to their own process, before or after they have run."""

from __future__ import annotations

import os
import signal

__all__ = ["dying", "dying_steps"]


def dying(function, before):
    def run(*args, **options):
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        function(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return run


def dying_steps(function):
    def run(*args, **options):
        yield from function(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return run
