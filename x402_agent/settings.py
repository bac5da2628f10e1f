"""Environment and files into one frozen object. X402_AGENT_HOME overrides every directory; errors name the variable."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import assets
from .errors import SettingsError
from .secret import Env, Secret, Veiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .policy import Budget, Policy

__all__ = ["Settings"]

HOME = "X402_AGENT_HOME"
LEDGER = "X402_AGENT_LEDGER"
NETWORKS = "X402_AGENT_NETWORKS"
NODES = "X402_AGENT_NODES"
POLICY = "X402_AGENT_POLICY"
AGENT = "X402_AGENT_NAME"
GROUP = "X402_AGENT_GROUP"
SLIP = "X402_AGENT_SLIP"
SIGNER = "X402_AGENT_SIGNER"
FILE = "X402_AGENT_SETTINGS"
LOOPBACK = "X402_AGENT_LOOPBACK"


@dataclass(frozen=True)
class Settings:
    """Where things lie and how long we wait. Times in seconds.

    `deadline` covers every leg of one paid conversation; `answer_timeout` is the least a seller gets to settle and
    answer; `nodes` maps a CAIP-2 network to its JSON-RPC URL, or to several with `|` between them; `slip` is the token of
    the purse that this process may pay from, and from no other; `signer` is the socket of a service that keeps key, policy
    and ledger; `dialects` are what settings.toml says of sellers, by dialect and origin (`read_dialects`).
    """

    data_dir: Path
    config_dir: Path
    ledger_path: Path
    policy_path: Path
    networks: tuple[str, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict, repr=False)
    agent: str = ""
    group: str = ""
    signer: Path | None = None
    loopback: bool = False
    dialects: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict, repr=False)
    slip: Secret = field(default=Secret(), repr=False)
    deadline: float = 60.0
    answer_timeout: float = 35.0

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; raises SettingsError naming the variable that is wrong."""
        env = Env(env)
        if home := env.get(HOME):
            data = config = Path(home).expanduser()
        else:
            import platformdirs

            data = Path(platformdirs.user_data_dir("x402-agent", appauthor=False))
            config = Path(platformdirs.user_config_dir("x402-agent", appauthor=False))
        ledger = "" if "://" in env.get(LEDGER, "") else env.get(LEDGER, "")
        if ledger != env.get(LEDGER, ""):  # a URL may hold a password
            raise SettingsError("this release keeps its ledger in SQLite only", rule=LEDGER, hint=f"{LEDGER}=/path/ledger.db")
        return cls(
            data_dir=data,
            config_dir=config,
            ledger_path=Path(ledger).expanduser() if ledger else data / "ledger.db",
            policy_path=Path(env[POLICY]).expanduser() if env.get(POLICY) else config / "policy.toml",
            networks=tuple(n.strip() for n in env.get(NETWORKS, "").split(",") if n.strip()),
            nodes=_nodes(Secret(env.get(NODES, ""))),
            agent=env.get(AGENT, ""),
            group=env.get(GROUP, ""),
            signer=_socket(env.get(SIGNER, "")),
            loopback=env.get(LOOPBACK, "") in ("1", "true", "yes"),
            dialects=read_dialects(Path(env[FILE]).expanduser() if env.get(FILE) else config / "settings.toml", env),
            slip=Secret(env.get(SLIP, "").strip()),
        )

    def policy(self, budget: Budget | None = None) -> Policy:
        """The rules of policy.toml under what the environment says, and under a budget given in code; raises SettingsError."""
        from .policy import load

        found = load(self.policy_path)
        if self.networks:
            found = replace(found, networks=self.networks, where={**found.where, "networks": NETWORKS})
        if self.loopback:
            found = replace(found, loopback=True)
        return found.with_budget(budget) if budget else found

    @property
    def wallet_path(self) -> Path:
        """Where the encrypted wallet lies unless X402_AGENT_WALLET names another file."""
        return self.data_dir / "wallet.json"

    @property
    def sellers_path(self) -> Path:
        """Where it stands what is told of sellers unless X402_AGENT_SETTINGS names another file."""
        return self.config_dir / "settings.toml"

    @property
    def catalogue_path(self) -> Path:
        """Where the catalogue of services lies unless X402_AGENT_CATALOGUE names another one."""
        return self.data_dir / "catalogue.db"

    @property
    def notes_path(self) -> Path:
        """Where it stands, apart from the ledgers, which of them exist."""
        return self.config_dir / "ledgers"

    @property
    def approvals(self) -> Path:
        """Where requests lie until a person answers them by `x402-agent approve`."""
        return self.data_dir / "approvals"

    @property
    def sandbox_ledger(self) -> Path:
        """Where payments in test money of a sandbox are written."""
        return self.data_dir / "sandbox.db"


def read_dialects(path: Path, env: Mapping[str, str]) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """`[dialects.NAME."https://origin"]` with the names of _DIALECTS, all short texts: {} where there is no file.

    A key never leaves for another address than the `api` or `rest_url` named beside it. Raises SettingsError.
    """
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as why:
        said, hint = ("it is not UTF-8", "save it as UTF-8") if isinstance(why, UnicodeDecodeError) else (why.strerror, f"ls -l {path}")
        raise SettingsError(f"settings.toml cannot be read: {said}", rule=str(path), hint=hint) from None
    import tomllib

    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):  # its words may quote a key
        raise SettingsError("settings.toml is no TOML", rule=str(path), hint=_TABLE) from None
    named = data.get("dialects", {})
    if set(data) - {"dialects"} or not isinstance(named, dict) or set(named) - set(_DIALECTS) or not all(isinstance(own, dict) for own in named.values()):
        raise SettingsError(f"settings.toml holds tables of [dialects.NAME] alone, NAME one of {', '.join(_DIALECTS)}", rule=str(path), hint=_TABLE)
    return {name: {origin: _seller(name, origin, said, f"{path}: {name}", env) for origin, said in own.items()} for name, own in named.items()}


_DIALECTS = {
    "x402pay": ("api", "key", "key_env", "agent", "recipient"),
    "lily": ("rest_url", "key", "key_env", "service_id", "service_type", "pay_to", "network", "currency", "pays", "max_payment", "hours", "price"),
}
_TABLES = {  # a line each, as it may be typed above everything else
    "x402pay": 'dialects.x402pay."https://shop.example" = { api = "https://api.example/v1", key_env = "X402PAY_KEY" }',
    "lily": 'dialects.lily."https://agents.example" = { rest_url = "https://project.supabase.co", key_env = "LILY_KEY", service_id = "…" }',
}
_TABLE = " or ".join(_TABLES.values())
_NAME = re.compile(r"[a-z_]{1,20}").fullmatch
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,40}").fullmatch
_LINE = re.compile(r"[!-~]{1,512}").fullmatch


def _seller(name: str, origin: str, said: Any, place: str, env: Mapping[str, str]) -> Mapping[str, str]:
    """The table of one origin, `key_env` read; it stays where its variable is not set, which matters to whoever deals with that origin alone."""
    parts = urlsplit(origin)
    if not _is_safe(Secret(origin)) or origin != f"{parts.scheme}://{parts.netloc}".lower() or parts.username is not None:
        raise SettingsError(f"{origin!r:.80} is no origin", rule=place, hint=_TABLES[name])
    place = f"{place}, {origin}"
    if wrong := _wrong(said, _DIALECTS[name]):
        raise SettingsError(f"{wrong}it holds short texts without spaces, in quotes: {', '.join(_DIALECTS[name])}", rule=place, hint=_TABLES[name])
    for base in ("api", "rest_url"):
        if base in said and not _is_safe(Secret(said[base])):
            raise SettingsError(f"{base} is not https, nor on this machine", rule=place, hint=_TABLES[name])
    if "key_env" not in said:
        return Veiled(said)
    if "key" in said:
        raise SettingsError("key and key_env both", rule=place, hint="key_env alone, and its variable")
    if not env.get(said["key_env"]):
        if _VARIABLE(said["key_env"]):
            return Veiled(said)
        raise SettingsError("the variable of key_env is not in the environment", rule=place, hint="its name, as key_env")  # it may be the key itself, in the wrong line
    return Veiled({**{key: value for key, value in said.items() if key != "key_env"}, "key": env[said["key_env"]]})


def _wrong(said: object, known: tuple[str, ...]) -> str:
    """What is wrong with the table of an origin, by the name of the line where that is one; "" for a good one."""
    if not isinstance(said, dict):
        return "it is no table; "
    for name, each in said.items():
        shown = f"{name} " if _NAME(name) else "a name "  # a key in the wrong place is shown to nobody
        if name not in known:
            return f"{shown}is not known; "
        if not (isinstance(each, str) and _LINE(each)):
            return f"{shown}is no such text; "
    return ""


def _socket(text: str) -> Path | None:
    """`/path/socket`, `unix:/path/socket` or `unix:///path/socket`."""
    path = text.removeprefix("unix://").removeprefix("unix:")
    if not path:
        return None
    if not path.startswith(("/", "~")):
        raise SettingsError(f"{SIGNER} is not the path of a socket", rule=SIGNER, hint=f"{SIGNER}=/run/x402-agent/signer.sock")
    return Path(path).expanduser()


def _nodes(text: Secret) -> Mapping[str, str]:
    """`base=https://…|https://…,base-sepolia=https://…`; only https, or http on this machine. URLs may hold keys."""
    parts = [Secret(part.strip()) for part in text.text.split(",") if part.strip()]
    for number, part in enumerate(parts, 1):
        where = assets.network(part.text.partition("=")[0].strip())
        if where is None or not all(map(_is_safe, _urls(part))):
            who = repr(where.name) if where else f"entry {number}"  # an entry without a name would show its URL's key
            raise SettingsError(f"{who} is no network, or its node is not https", rule=NODES,
                                hint=f"{NODES}='base=https://node.example/…|https://another.example/…'")  # fmt: skip
    known = {where.id: part for part in parts if (where := assets.network(part.text.partition("=")[0].strip()))}
    return Veiled({name: part.text.partition("=")[2] for name, part in known.items()})


def _urls(part: Secret) -> list[Secret]:
    return [Secret(url.strip()) for url in part.text.partition("=")[2].split("|")]


def _is_safe(url: Secret) -> bool:
    from .policy.identity import is_loopback

    try:
        parts = urlsplit(url.text)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
