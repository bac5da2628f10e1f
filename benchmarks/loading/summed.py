"""Times in a few numbers. It imports nothing: the generator's Python has none of us."""

from __future__ import annotations

__all__ = ["summary"]


def summary(times: list[float]) -> dict[str, float]:
    """min, mean, p50, p95, p99 and max of seconds, in milliseconds."""
    if not times:
        return {}
    times = sorted(times)
    at = {f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] for part in (50, 95, 99)}
    found = {"min": times[0], "mean": sum(times) / len(times), **at, "max": times[-1]}
    return {name: round(1000 * seconds, 3) for name, seconds in found.items()}
