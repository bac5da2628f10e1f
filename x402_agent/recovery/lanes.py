"""What is open at several sellers, side by side: a slow one, or one that limits us, holds up only what is his. Each seller meets one request at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MOST", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")

MOST = 8  # origins at a time


def side_by_side(work: Callable[[T], R], found: Sequence[T], origin: Callable[[T], str]) -> list[R]:
    """`work` of each, in threads where there is more than one origin. -> what came of it, in the order of `found`.

    What `work` raises is raised here, once what is under way is done; nothing more is begun by then.
    """
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    lanes: dict[str, list[int]] = {}
    for number, one in enumerate(found):
        lanes.setdefault(origin(one), []).append(number)
    if len(lanes) < 2:
        return [work(one) for one in found]
    made: dict[int, R] = {}
    over = Event()

    def lane(numbers: list[int]) -> None:
        try:
            for number in numbers:
                if over.is_set():
                    return
                made[number] = work(found[number])
        except BaseException:
            over.set()
            raise

    pool = ThreadPoolExecutor(min(MOST, len(lanes)), "x402-resume")
    try:
        for _ in pool.map(lane, lanes.values()):
            pass
    finally:
        over.set()
        pool.shutdown(cancel_futures=True)
    return [made[number] for number in range(len(found))]
