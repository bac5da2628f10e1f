"""MCP hosts: where each keeps its list of servers, and the entry that starts ours without PATH, shell, key or token."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import SettingsError, __version__
from ..wallet import KEYS
from .mcp_edit import in_json, in_toml, json_text, toml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HOSTS", "NAME", "Host", "command", "environment", "left_out"]

NAME = "x402-agent"
# Where things lie and who pays, which a host's own environment may lack: paths and names. What may hold a secret is never copied.
_PATHS = ("X402_AGENT_LEDGER", "X402_AGENT_POLICY", "X402_AGENT_WALLET", "X402_AGENT_PASSPHRASE_FILE")
_FOLDERS = ("X402_AGENT_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
_WORDS = ("X402_AGENT_SIGNER", "X402_AGENT_KEYRING", "X402_AGENT_NETWORKS", "X402_AGENT_NAME", "X402_AGENT_GROUP")
_SECRET = (*KEYS.values(), "X402_AGENT_PASSPHRASE", "X402_AGENT_SLIP", "X402_AGENT_NODES")


@dataclass(frozen=True)
class Host:
    """One host: `folder` and `file` of its configuration, the table of servers in it, and what to do after a change."""

    title: str
    folder: str  # a key of `_folders`
    file: str
    table: str = "mcpServers"
    typed: bool = False
    after: str = "restart {title}"

    @property
    def toml(self) -> bool:
        """Whether the file is TOML; else it is JSON, with or without comments."""
        return self.file.endswith(".toml")

    def path(self, env: Mapping[str, str], *, system: str = sys.platform, home: Path | None = None) -> Path:
        """The user's own file of this host on this system."""
        return _folder(self.folder, env, system, home or Path.home()) / self.file

    def entry(self, sandbox: bool, env: Mapping[str, str]) -> dict[str, Any]:
        """The server as this host writes one down: `command`, `args`, and `env` where the environment says where things lie."""
        words = command()
        made: dict[str, Any] = {"type": "stdio"} if self.typed else {}
        made |= {"command": words[0], "args": [*words[1:], *(["--sandbox"] if sandbox else [])]}
        told = environment(env, sandbox=sandbox)
        made |= {"env": told} if told else {}
        if any("\ud800" <= letter <= "\udfff" for letter in json.dumps(made, ensure_ascii=False)):
            raise SettingsError("a path here is no text in this locale, so no configuration can name it", rule="the encoding of the environment",
                                hint="export LC_ALL=C.UTF-8, or another folder in X402_AGENT_HOME")  # fmt: skip
        return made

    def snippet(self, entry: dict[str, Any]) -> str:
        """The entry as a whole configuration file."""
        return (toml_text if self.toml else json_text)(self.table, NAME, entry)

    def put(self, text: str, entry: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The host's file with the entry in it, and what stood in its place; raises SettingsError."""
        return (in_toml if self.toml else in_json)(text, self.table, NAME, entry)


HOSTS = {
    "claude": Host("Claude", "claude", "claude_desktop_config.json"),
    "claude-code": Host("Claude Code", "claude-code", ".claude.json", typed=True, after="start a new session of {title}"),
    "cursor": Host("Cursor", "cursor", "mcp.json"),
    "vscode": Host("VS Code", "vscode", "mcp.json", table="servers", typed=True, after="in {title} run `MCP: List Servers` and start x402-agent"),
    "codex": Host("Codex", "codex", "config.toml", table="mcp_servers", after="start a new session of {title}"),
}  # fmt: skip


def _folder(of: str, env: Mapping[str, str], system: str, home: Path) -> Path:
    """Where an application keeps its files: as each of them documents it for macOS, Windows and the rest."""
    if of == "claude-code":
        return Path(env["CLAUDE_CONFIG_DIR"]) if env.get("CLAUDE_CONFIG_DIR") else home
    if of == "codex":
        return Path(env["CODEX_HOME"]) if env.get("CODEX_HOME") else home / ".codex"
    if of == "cursor":
        return home / ".cursor"
    if system == "darwin":
        base = home / "Library" / "Application Support"
    elif system == "win32":
        base = Path(env["APPDATA"]) if env.get("APPDATA") else home / "AppData" / "Roaming"
    else:
        base = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
    return base / "Claude" if of == "claude" else base / "Code" / "User"


def command() -> list[str]:
    """The server's command with an absolute path: hosts start it without our PATH, in folders that we do not choose.

    The script beside the interpreter where there is one, else `python -P -m`: without -P a file of the host's folder could
    take the place of a module. A run of `uvx` lives in a cache that may be emptied, so uvx itself is named.
    """
    python = Path(sys.executable)
    if not python.is_absolute():
        raise SettingsError("this Python does not know its own path", rule="sys.executable", hint="start it by its full path")
    if os.environ.get("UV") and {"archive-v0", "environments-v2", "builds-v0"} & set(python.parts):
        uvx = Path(os.environ["UV"]).with_name("uvx.exe" if sys.platform == "win32" else "uvx")
        if uvx.is_absolute() and uvx.exists():
            return [str(uvx), "--from", f"x402-agent-sdk[mcp,evm,solana]=={__version__}", "x402-agent-mcp"]
    script = "x402-agent-mcp.exe" if sys.platform == "win32" else "x402-agent-mcp"
    for folder in (python.parent, Path(sysconfig.get_path("scripts"))):
        if (folder / script).is_file():
            return [str(folder / script)]
    return [str(python), "-P", "-m", "x402_agent_mcp"]


def environment(env: Mapping[str, str], *, sandbox: bool) -> dict[str, str]:
    """What the server must be told: paths, made absolute, and names; for test money only where things lie."""
    paths = {name: str(Path(env[name]).expanduser().absolute()) for name in (*_FOLDERS, *_PATHS) if env.get(name)}
    if sandbox:
        return {name: path for name, path in paths.items() if name in _FOLDERS}
    return paths | {name: env[name] for name in _WORDS if env.get(name)}


def left_out(env: Mapping[str, str]) -> list[str]:
    """Variables that are set here, may hold a secret, and so are not copied."""
    return [name for name in _SECRET if env.get(name)]
