"""A line or two for each command, as a person types them: the end of its `--help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["EXAMPLES", "teach"]

_NODE = "X402_AGENT_NODES='base=https://node.example|https://another.example' "
EXAMPLES: dict[str, tuple[str, ...]] = {
    "try": ("x402-agent try", "x402-agent try --chain solana", "x402-agent try --scenario answer_lost",
            "x402-agent try --chain stacks --seller x402pay", "x402-agent try --chain tron --seller monitor",
            "x402-agent try --discover", "x402-agent try --discover --seller catalogue --scenario listed_cheaper"),
    "get": (
        "x402-agent get --dry-run https://api.example.com/report",
        "x402-agent get https://api.example.com/report --max 0.05 --output report.json",
        "x402-agent get https://api.example.com/order -d @order.json -H 'content-type: application/json' --key order-17",
        "x402-agent get 3f9c12ab --max 0.01",
    ),
    "invoice pay": ("x402-agent invoice pay invoice.json --max 15", "x402-agent invoice pay invoice.json --sandbox", "x402-agent invoice pay - --json < invoice.json"),
    "invoice status": ("x402-agent invoice status invoice.json",),
    "plan": ("x402-agent plan job.txt", "x402-agent plan job.txt --run answers --max 0.50"),
    "log": ("x402-agent log --today", "x402-agent log --by host", "x402-agent log --in-doubt --json"),
    "why": ("x402-agent why 4729e523",),
    "receipt": ("x402-agent receipt 4729e523 -o evidence.json", "x402-agent receipt evidence.json --verify"),
    "claim": ("x402-agent claim 4729e523 -o claim.json",),
    "refund": (_NODE + "x402-agent refund 4729e523 0x06ef…",),
    "resume": ("x402-agent resume", _NODE + "x402-agent resume 4729e523", "x402-agent resume 4729e523 --output report.json",
               "x402-agent resume 4729e523 --bump --max-fee 0.01"),
    "doctor": ("x402-agent doctor", _NODE + "x402-agent doctor --json"),
    "approve list": ("x402-agent approve list",),
    "approve show": ("x402-agent approve show 3f9c",),
    "approve yes": ("x402-agent approve yes 3f9c",),
    "approve no": ("x402-agent approve no 3f9c",),
    "freeze": ("x402-agent freeze --note 'looking into it'", "x402-agent freeze --host api.example.com", "x402-agent freeze --show"),
    "unfreeze": ("x402-agent unfreeze", "x402-agent unfreeze --host api.example.com"),
    "budget set": (
        "x402-agent budget set 5.00/day --per-call 0.10",
        "x402-agent budget set 0.50/hour --calls 20/minute --host api.example.com",
        "x402-agent budget set 2.00/day --each payee",
    ),
    "budget show": ("x402-agent budget show --json",),
    "budget pause": ("x402-agent budget pause agent:research",),
    "budget resume": ("x402-agent budget resume agent:research",),
    "budget revoke": ("x402-agent budget revoke host:api.example.com",),
    "credentials list": ("x402-agent credentials list --all",),
    "credentials show": ("x402-agent credentials show 91ab",),
    "credentials renew": ("x402-agent credentials renew 91ab",),
    "credentials revoke": ("x402-agent credentials revoke 91ab",),
    "credentials buy": ("x402-agent credentials buy https://api.example.com/agents/report --calls 50",),
    "credentials balance": ("x402-agent credentials balance https://api.example.com/agents/report --json",),
    "credentials top-up": ("x402-agent credentials top-up https://api.example.com/agents/report 5.00",),
    "discover crawl": ("x402-agent discover crawl", "x402-agent discover crawl --source bazaar=https://facilitator.example/x402 --probe 50",
                       "x402-agent discover crawl --source https://api.example.com --source mpp=https://mpp.dev --json",
                       "x402-agent discover crawl --fleet --catalogue postgresql://x402@db.example/catalogue"),
    "discover search": ("x402-agent discover search weather --max 0.01 --live", "x402-agent discover search 'stock prices' --network base --json",
                        "x402-agent discover search --all --limit 50"),
    "discover show": ("x402-agent discover show 3f9c12ab",),
    "discover probe": ("x402-agent discover probe 3f9c12ab", "x402-agent discover probe 3f9c12ab --allow-loopback"),
    "discover sources": ("x402-agent discover sources",),
    "discover export": ("x402-agent discover export --format csv --output services.csv",),
    "ledger verify": ("x402-agent ledger verify",),
    "ledger repair": ("x402-agent ledger repair --dry-run", "x402-agent ledger repair --per-call 0.10"),
    "ledger decide": ("x402-agent ledger decide 4729e523 --paid --dry-run", "x402-agent ledger decide 4729e523 --not-paid"),
    "ledger export": ("x402-agent ledger export --format csv --output payments.csv --since 2026-11-01",),
    "ledger stats": ("x402-agent ledger stats --json",),
    "ledger cleanup": ("x402-agent ledger cleanup",),
    "ledger test": ("x402-agent ledger test",),
    "mcp install": ("x402-agent mcp install claude", "x402-agent mcp install --print cursor --sandbox", "x402-agent mcp install claude-code --file .mcp.json"),
    "mcp call": ("x402-agent mcp call", "x402-agent mcp call fetch url=https://api.example.com/report max_price=0.05", "x402-agent mcp call spending period=month --json"),
    "mcp serve": ("x402-agent mcp serve --sandbox", "x402-agent mcp serve --http --port 8402"),
    "policy check": ("x402-agent policy check", "x402-agent policy check new-policy.toml --since 2026-11-01"),
    "pins": ("x402-agent pins",),
    "pin": ("x402-agent pin https://api.example.com 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913 --network base",),
    "unpin": ("x402-agent unpin https://api.example.com",),
    "slip list": ("x402-agent slip list --all",),
    "slip run": ("x402-agent slip run 0.50 --minutes 10 --host api.example.com -- python agent.py",),
    "slip pause": ("x402-agent slip pause 7d21",),
    "slip resume": ("x402-agent slip resume 7d21",),
    "slip revoke": ("x402-agent slip revoke 7d21",),
    "wallet new": ("x402-agent wallet new", "X402_AGENT_PASSPHRASE_FILE=/path/passphrase x402-agent wallet new --words 24 --json"),
    "wallet import": ("x402-agent wallet import key.txt --chain solana --name research", "x402-agent wallet import < words.txt"),
    "wallet show": ("x402-agent wallet show", _NODE + "x402-agent wallet show"),
    "wallet export": ("x402-agent wallet export --keystore key.json",),
    "wallet account add": ("x402-agent wallet account add research",),
    "wallet account list": ("x402-agent wallet account list",),
    "wallet rotate": ("x402-agent wallet rotate", "x402-agent wallet rotate research"),
    "wallet fund": ("x402-agent wallet fund --network base", _NODE + "x402-agent wallet fund --account research"),
    "wallet sweep": (_NODE + "x402-agent wallet sweep --to 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",),
    "wallet keyring": ("x402-agent wallet keyring my-wallet < passphrase.txt", "x402-agent wallet keyring my-wallet --remove"),
    "wallet approve": (
        _NODE + "x402-agent wallet approve USDC --for permit2 --amount 20",
        _NODE + "x402-agent wallet approve USDC --for permit2 --revoke",
    ),
    "wallet transactions": ("x402-agent wallet transactions",),
    "sandbox scenarios": ("x402-agent sandbox scenarios", "x402-agent sandbox scenarios --seller kamiyo", "x402-agent sandbox scenarios --seller monitor"),
    "sandbox up": ("x402-agent sandbox up", "x402-agent sandbox up --chain tron --scenario settles_then_500 --port 8402", "x402-agent sandbox up --seller kamiyo",
                   "x402-agent sandbox up --chain stacks --seller x402pay", "x402-agent sandbox up --chain tron --seller monitor",
                   "x402-agent sandbox up --seller catalogue --scenario listed_twice"),
    "sandbox db create-tables": ("x402-agent sandbox db create-tables",),
    "sandbox db stats": ("x402-agent sandbox db stats", "DATABASE_URL=postgresql://localhost/shop x402-agent sandbox db stats"),
    "sandbox db test": ("x402-agent sandbox db test",),
    "sandbox db cleanup": ("x402-agent sandbox db cleanup",),
    "sandbox db cleanup-logs": ("x402-agent sandbox db cleanup-logs --seller monitor --days 30",),
    "sandbox db analytics": ("x402-agent sandbox db analytics",),
    "sandbox db export": ("x402-agent sandbox db export copy.jsonl", "x402-agent sandbox db export --seller monitor --file copy.jsonl"),
    "sandbox db reset": ("x402-agent sandbox db reset --yes",),
    "sandbox db migrate": (
        "x402-agent sandbox db migrate --dry-run",
        "x402-agent sandbox db migrate --rollback --yes",
        "x402-agent sandbox db migrate --restore copy.jsonl --yes",
    ),
    "signer run": ("x402-agent signer run --group agents",),
    "signer status": ("x402-agent signer status --socket /run/x402-agent/signer.sock",),
    "signer doctor": ("x402-agent signer doctor",),
}


def teach(app: typer.Typer, above: str = "") -> None:
    """Put the lines under the help of each command of this app and of those below it."""
    for command in app.registered_commands:
        name = f"{above}{command.name or getattr(command.callback, '__name__', '')}"
        if lines := EXAMPLES.get(name):
            command.epilog = "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            teach(group.typer_instance, f"{above}{group.name or ''} ")
