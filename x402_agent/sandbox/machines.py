"""Two EVMs behind one small door: code runs, state stays, nothing here knows blocks, transactions or tokens.

`pyrevm` is Rust and fast, without wheels for some platforms; `py-evm` is pure Python and runs everywhere. Neither meters
gas as a real node does (slots stay warm between calls), so no gas figure ever leaves the sandbox.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import SettingsError

__all__ = ["Backend", "Log", "Machine", "Ran", "machine"]

Backend = Literal["pyrevm", "py-evm"]
GAS = 5_000_000
GAS_LIMIT = 60_000_000
SPEC = "CANCUN"
_INSTALL = "uv add 'x402-agent-sdk[sandbox]'"
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)").search


class Log(NamedTuple):
    """One event of a contract: 20 bytes of address, 32-byte topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class Ran(NamedTuple):
    """What a call did: `output` is the returned data, or the revert data when `ok` is False."""

    ok: bool
    output: bytes
    logs: tuple[Log, ...] = ()


class Machine(Protocol):
    """An EVM without transactions. Addresses are 20 bytes. Not thread-safe: the chain above holds the lock."""

    name: Backend

    def block(self, number: int, timestamp: int) -> None:
        """From now on code sees this block number and time (unix seconds)."""

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool) -> Ran:
        """Call a contract; its changes stay only when `keep` is set and it did not revert."""

    def install(self, address: bytes, code: bytes) -> None:
        """Put runtime code at an address, as if it had been deployed there."""

    def code(self, address: bytes) -> bytes:
        """The runtime code at an address, b"" when there is none."""

    def balance(self, address: bytes) -> int:
        """The native balance in wei."""

    def endow(self, address: bytes, wei: int) -> None:
        """Set the native balance in wei."""


def machine(backend: Backend | None, chain_id: int) -> Machine:
    """The EVM asked for; without a wish pyrevm, and py-evm where pyrevm is not installed. Raises SettingsError."""
    if backend is not None:
        made: dict[str, type[_PyRevm | _PyEvm]] = {"pyrevm": _PyRevm, "py-evm": _PyEvm}
        if backend not in made:
            raise SettingsError(f"no EVM is called {backend!r}", rule="backend pyrevm or py-evm")
        try:
            return made[backend](chain_id)
        except ImportError as cause:
            raise SettingsError(f"{backend} is not installed", rule="extra `sandbox`", hint=_INSTALL) from cause
    for each in (_PyRevm, _PyEvm):
        try:
            return each(chain_id)
        except ImportError:
            continue
    raise SettingsError("no EVM is installed", rule="extra `sandbox`", hint=_INSTALL)


class _PyRevm:
    """pyrevm: every change stands between snapshot() and commit() or revert(); a bare commit() breaks it for good."""

    name: Backend = "pyrevm"

    def __init__(self, chain_id: int) -> None:
        import pyrevm

        self._lib = pyrevm
        env = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id))
        self._evm = pyrevm.EVM(env=env, spec_id=SPEC)

    def block(self, number: int, timestamp: int) -> None:
        env = self._lib.BlockEnv(number=number, timestamp=timestamp, basefee=0, gas_limit=GAS_LIMIT)
        self._evm.set_block_env(env)

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool) -> Ran:
        mark = self._evm.snapshot()
        try:
            output = self._evm.message_call(caller=_hex(caller), to=_hex(to), calldata=data, gas=GAS)
        except RuntimeError as refusal:
            self._evm.revert(mark)
            found = _OUTPUT(str(refusal))  # the revert data is nowhere else
            return Ran(False, bytes.fromhex(found[1]) if found else b"")
        result = self._evm.result
        logs = tuple(_log(entry) for entry in result.logs) if keep and result else ()
        if keep:
            self._evm.commit()
        else:
            self._evm.revert(mark)
        return Ran(True, bytes(output), logs)

    def install(self, address: bytes, code: bytes) -> None:
        self._evm.insert_account_info(_hex(address), self._lib.AccountInfo(code=code))

    def code(self, address: bytes) -> bytes:
        return bytes(self._evm.get_code(_hex(address)) or b"")

    def balance(self, address: bytes) -> int:
        return int(self._evm.get_balance(_hex(address)))

    def endow(self, address: bytes, wei: int) -> None:
        self._evm.set_balance(_hex(address), wei)


class _PyEvm:
    """py-evm without its blocks: one state object, messages applied to it directly."""

    name: Backend = "py-evm"

    def __init__(self, chain_id: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from eth.constants import BLANK_ROOT_HASH
            from eth.db.atomic import AtomicDB
            from eth.vm.execution_context import ExecutionContext
            from eth.vm.forks.cancun.state import CancunState
            from eth.vm.message import Message

        self._chain_id = chain_id
        self._context: Any = ExecutionContext
        self._message: Any = Message
        self._state: Any = CancunState(AtomicDB(), self._environment(0, 1), BLANK_ROOT_HASH)

    def _environment(self, number: int, timestamp: int) -> Any:
        nowhere, prevrandao = bytes(20), bytes(32)
        return self._context(nowhere, timestamp, number, 0, prevrandao, GAS_LIMIT, (), self._chain_id, 0, 0)

    def block(self, number: int, timestamp: int) -> None:
        self._state.execution_context = self._environment(number, timestamp)

    def run(self, caller: bytes, to: bytes, data: bytes, *, keep: bool) -> Ran:
        state = self._state
        mark = state.snapshot()
        message = self._message(gas=GAS, to=to, sender=caller, value=0, data=data, code=state.get_code(to))
        context = state.transaction_context_class(gas_price=0, origin=caller)
        done = state.computation_class.apply_message(state, message, context)
        output = bytes(done.output)
        if done.is_error or not keep:
            logs: tuple[Log, ...] = ()
            state.revert(mark)
        else:
            logs = tuple(Log(a, tuple(t.to_bytes(32, "big") for t in ts), d) for a, ts, d in done.get_log_entries())
            state.commit(mark)
        state.lock_changes()
        state.clear_transient_storage()
        return Ran(not done.is_error, output, logs)

    def install(self, address: bytes, code: bytes) -> None:
        self._state.set_code(address, code)
        self._state.lock_changes()

    def code(self, address: bytes) -> bytes:
        return bytes(self._state.get_code(address))

    def balance(self, address: bytes) -> int:
        return int(self._state.get_balance(address))

    def endow(self, address: bytes, wei: int) -> None:
        self._state.set_balance(address, wei)
        self._state.lock_changes()


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _log(entry: Any) -> Log:
    topics, data = entry.data
    return Log(bytes.fromhex(entry.address[2:]), tuple(topics), data)
