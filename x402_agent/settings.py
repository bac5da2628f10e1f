"""Environment and files into one frozen object. X402_AGENT_HOME overrides every directory; errors name the variable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
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
LOOPBACK = "X402_AGENT_LOOPBACK"


@dataclass(frozen=True)
class Settings:
    """Where things lie and how long we wait. Times in seconds.

    `deadline` covers every leg of one paid conversation; `answer_timeout` is the least a seller gets to settle and
    answer; `nodes` maps a CAIP-2 network to its JSON-RPC URL, or to several with `|` between them; `slip` is the token of
    the purse that this process may pay from, and from no other; `signer` is the socket of a service that keeps key, policy
    and ledger.
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
