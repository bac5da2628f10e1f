"""Two EVMs behind one small door: code runs, state stays, nothing here knows blocks, transactions or tokens.

`pyrevm` is Rust and fast, without wheels for some platforms; `py-evm` is pure Python and runs everywhere. Gas is metered,
but a slot once touched stays warm for ever in pyrevm, so its figures are lower than a real node's.
"""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import SettingsError

__all__ = ["COINBASE", "GAS", "GAS_LIMIT", "Backend", "Log", "Machine", "Ran", "intrinsic", "machine"]

Backend = Literal["pyrevm", "py-evm"]
GAS = 5_000_000
GAS_LIMIT = 60_000_000  # of a block
COINBASE = bytes.fromhex("4200000000000000000000000000000000000011")  # where Base's sequencer collects its fees
SPEC = "CANCUN"
_VIEWS = 64
_INSTALL = "uv add 'x402-agent-sdk[sandbox]'"
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)").search
_USED = re.compile(r"gas_used: (\d+)").search
_HALT = re.compile(r"Halt \{ reason: (\w+)").search


class Log(NamedTuple):
    """One event of a contract: 20 bytes of address, 32-byte topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class Ran(NamedTuple):
    """What a call did: `output` is the returned data, or the revert data when `ok` is False.

    `gas` was used, what a transaction pays before its first instruction included; `refund` of it came back. `halt` names
    what stopped the code when it did not revert by itself: OutOfGas, StackUnderflow and their like.
    """

    ok: bool
    output: bytes
    logs: tuple[Log, ...] = ()
    gas: int = 0
    refund: int = 0
    halt: str = ""


class Machine(Protocol):
    """An EVM without transactions. Addresses are 20 bytes. Not thread-safe: the chain above holds the lock."""

    name: Backend

    def block(self, number: int, timestamp: int) -> None:
        """From now on code sees this block number and time (unix seconds)."""

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool, value: int = 0, gas: int = GAS) -> Ran:
        """Call a contract with `value` wei; its changes stay only when `keep` is set and it did not revert.

        The caller must own `value`, and `gas` must reach for intrinsic(data): both are the chain's rules, not code's.
        """

    def install(self, address: bytes, code: bytes) -> None:
        """Put runtime code at an address, as if it had been deployed there."""

    def code(self, address: bytes) -> bytes:
        """The runtime code at an address, b"" when there is none."""

    def storage(self, address: bytes, slot: int) -> int:
        """One word of a contract's storage."""

    def balance(self, address: bytes) -> int:
        """The native balance in wei."""

    def endow(self, address: bytes, wei: int) -> None:
        """Set the native balance in wei."""


def intrinsic(data: bytes, *, creates: bool = False, addresses: int = 0, slots: int = 0) -> int:
    """Gas before the first instruction (EIP-2028, EIP-2930, EIP-3860): `addresses` and `slots` of the access list."""
    zeros = data.count(0)
    words = (len(data) + 31) // 32
    creation = 32_000 + 2 * words if creates else 0
    return 21_000 + 4 * zeros + 16 * (len(data) - zeros) + creation + 2_400 * addresses + 1_900 * slots


def machine(backend: Backend | None, chain_id: int) -> Machine:
    """The EVM asked for; without a wish pyrevm, and py-evm where pyrevm is not installed. Raises SettingsError."""
    if backend is not None:
        made: dict[str, type[_PyRevm | _PyEvm]] = {"pyrevm": _PyRevm, "py-evm": _PyEvm}
        if backend not in made:
            raise SettingsError(f"no EVM is called {backend!r}", rule="backend pyrevm or py-evm", hint="pyrevm")
        try:
            return _Once(made[backend](chain_id))
        except ImportError as cause:
            raise SettingsError(f"{backend} is not installed", rule="extra `sandbox`", hint=_INSTALL) from cause
    for each in (_PyRevm, _PyEvm):
        try:
            return _Once(each(chain_id))
        except ImportError:
            continue
    raise SettingsError("no EVM is installed", rule="extra `sandbox`", hint=_INSTALL)


class _Once:
    """Runs no view twice while nothing has changed: what verifying a payment rehearses, settling it rehearses again."""

    def __init__(self, inner: Machine) -> None:
        self._inner, self.name = inner, inner.name
        self._block = (-1, -1)
        self._views: dict[tuple[bytes, bytes, bytes, int, int], Ran] = {}

    def block(self, number: int, timestamp: int) -> None:
        if (number, timestamp) != self._block:
            self._block = number, timestamp
            self._views.clear()
            self._inner.block(number, timestamp)

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool, value: int = 0, gas: int = GAS) -> Ran:
        view = (caller, to, data, value, gas)
        if keep or len(self._views) >= _VIEWS:
            self._views.clear()
        found = self._views.get(view)
        if found is None:
            found = self._inner.run(caller, to, data, keep=keep, value=value, gas=gas)
            if not keep:
                self._views[view] = found
        return found

    def install(self, address: bytes, code: bytes) -> None:
        self._views.clear()
        self._inner.install(address, code)

    def code(self, address: bytes) -> bytes:
        return self._inner.code(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self._inner.storage(address, slot)

    def balance(self, address: bytes) -> int:
        return self._inner.balance(address)

    def endow(self, address: bytes, wei: int) -> None:
        self._views.clear()
        self._inner.endow(address, wei)


class _PyRevm:
    """pyrevm: every change stands between snapshot() and commit() or revert(); a bare commit() breaks it for good."""

    name: Backend = "pyrevm"

    def __init__(self, chain_id: int) -> None:
        import pyrevm

        self._lib = pyrevm
        env = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id))
        self._evm = pyrevm.EVM(env=env, spec_id=SPEC)

    def block(self, number: int, timestamp: int) -> None:
        env = self._lib.BlockEnv(
            number=number, timestamp=timestamp, basefee=0, gas_limit=GAS_LIMIT, coinbase=_hex(COINBASE)
        )
        self._evm.set_block_env(env)

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool, value: int = 0, gas: int = GAS) -> Ran:
        mark = self._evm.snapshot()
        try:
            output = self._evm.message_call(caller=_hex(caller), to=_hex(to), calldata=data, value=value, gas=gas)
        except RuntimeError as refusal:
            self._evm.revert(mark)
            return _failed(str(refusal), gas)
        result: Any = self._evm.result
        logs = tuple(_log(entry) for entry in result.logs) if keep else ()
        if keep:
            self._evm.commit()
        else:
            self._evm.revert(mark)
        return Ran(True, bytes(output), logs, result.gas_used, result.gas_refunded)

    def install(self, address: bytes, code: bytes) -> None:
        self._evm.insert_account_info(_hex(address), self._lib.AccountInfo(code=code))

    def code(self, address: bytes) -> bytes:
        return bytes(self._evm.get_code(_hex(address)) or b"")

    def storage(self, address: bytes, slot: int) -> int:
        return int(self._evm.storage(_hex(address), slot))

    def balance(self, address: bytes) -> int:
        return int(self._evm.get_balance(_hex(address)))

    def endow(self, address: bytes, wei: int) -> None:
        self._evm.set_balance(_hex(address), wei)


class _PyEvm:
    """py-evm without its blocks: one state object, messages applied to it directly."""

    name: Backend = "py-evm"

    def __init__(self, chain_id: int) -> None:
        limit = sys.getrecursionlimit()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from eth.constants import BLANK_ROOT_HASH
            from eth.db.atomic import AtomicDB
            from eth.vm.execution_context import ExecutionContext
            from eth.vm.forks.cancun.state import CancunState
            from eth.vm.message import Message
        sys.setrecursionlimit(limit)  # py-evm raises it for the whole process, for calls nested deeper than any here

        self._chain_id = chain_id
        self._context: Any = ExecutionContext
        self._message: Any = Message
        self._state: Any = CancunState(AtomicDB(), self._environment(0, 1), BLANK_ROOT_HASH)

    def _environment(self, number: int, timestamp: int) -> Any:
        prevrandao = bytes(32)
        return self._context(COINBASE, timestamp, number, 0, prevrandao, GAS_LIMIT, (), self._chain_id, 0, 0)

    def block(self, number: int, timestamp: int) -> None:
        self._state.execution_context = self._environment(number, timestamp)

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool, value: int = 0, gas: int = GAS) -> Ran:
        state = self._state
        mark = state.snapshot()
        before = intrinsic(data)
        code = state.get_code(to)
        message = self._message(gas=gas - before, to=to, sender=caller, value=value, data=data, code=code)
        context = state.transaction_context_class(gas_price=0, origin=caller)
        done = state.computation_class.apply_message(state, message, context)
        used, refund = before + done.get_gas_used(), 0
        logs: tuple[Log, ...] = ()
        if done.is_error or not keep:
            state.revert(mark)
        else:
            logs = tuple(Log(a, tuple(t.to_bytes(32, "big") for t in ts), d) for a, ts, d in done.get_log_entries())
            state.commit(mark)
        if not done.is_error:
            refund = min(done.get_gas_refund(), used // 5)  # EIP-3529
        state.lock_changes()
        state.clear_transient_storage()
        halt = "" if not done.is_error or type(done.error).__name__ == "Revert" else type(done.error).__name__
        return Ran(not done.is_error, bytes(done.output), logs, used - refund, refund, halt)

    def install(self, address: bytes, code: bytes) -> None:
        self._state.set_code(address, code)
        self._state.lock_changes()

    def code(self, address: bytes) -> bytes:
        return bytes(self._state.get_code(address))

    def storage(self, address: bytes, slot: int) -> int:
        return int(self._state.get_storage(address, slot))

    def balance(self, address: bytes) -> int:
        return int(self._state.get_balance(address))

    def endow(self, address: bytes, wei: int) -> None:
        self._state.set_balance(address, wei)
        self._state.lock_changes()


def _failed(words: str, gas: int) -> Ran:
    """What pyrevm says in words: revert data, gas and the name of a halt are nowhere else."""
    output, used, halt = _OUTPUT(words), _USED(words), _HALT(words)
    reverted = bytes.fromhex(output[1]) if output else b""
    return Ran(
        False, reverted, gas=int(used[1]) if used else gas, halt=halt[1] if halt else "" if output else words[:80]
    )


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _log(entry: Any) -> Log:
    topics, data = entry.data
    return Log(bytes.fromhex(entry.address[2:]), tuple(topics), data)
