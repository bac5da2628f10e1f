"""JSON-RPC 2.0 as nodes speak it: one call or a batch of them in, answers out. The methods are a chain's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Wrong", "answered"]

BATCH = 1000


class Wrong(Exception):
    """A JSON-RPC error: code, message, and data when there is any."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def answered(body: object, methods: Mapping[str, Callable[[list[Any]], object]]) -> object:
    """The answer to one call or a batch. A method raises Wrong; a ValueError, LookupError or TypeError is -32602."""
    if isinstance(body, list) and len(body) > BATCH:
        return _error(None, Wrong(-32600, "batch too large"))
    if isinstance(body, list) and body:
        return [_one(each, methods) for each in body]
    return _one(body, methods)


def _one(call: object, methods: Mapping[str, Callable[[list[Any]], object]]) -> dict[str, Any]:
    identity = call.get("id") if isinstance(call, dict) else None
    try:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            raise Wrong(-32600, "invalid request")
        params = call.get("params") or []
        if not isinstance(params, list):
            raise Wrong(-32602, "params is an array")
        method = methods.get(call["method"])
        if method is None:
            raise Wrong(-32601, f"the method {call['method'][:60]} does not exist/is not available")
        return {"jsonrpc": "2.0", "id": identity, "result": method(params)}
    except Wrong as wrong:
        return _error(identity, wrong)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as cause:
        return _error(identity, Wrong(-32602, f"invalid argument: {str(cause)[:200]}"))


def _error(identity: object, wrong: Wrong) -> dict[str, Any]:
    error: dict[str, Any] = {"code": wrong.code, "message": str(wrong)}
    return {"jsonrpc": "2.0", "id": identity, "error": error | ({"data": wrong.data} if wrong.data else {})}
