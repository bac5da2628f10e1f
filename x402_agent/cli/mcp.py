"""`x402-agent mcp`: the tool server in an MCP host's list, as a command, and its tools from a terminal."""

from __future__ import annotations

import importlib.util
import json as js
import os
import secrets
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Payer, PaymentError, Settings, SettingsError
from .. import errors as errors_of
from ..secret import Env, plain
from ..wallet import KEYS, file_at
from .common import Exit, Json, as_json, errors, exit_code, sandbox_payer, say
from .mcp_hosts import HOSTS, NAME, Host, left_out
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..tools.verbs import Verb

__all__ = ["app"]

app = typer.Typer(
    help="Let Claude, Cursor and other MCP hosts buy within your policy.\n\n"
    "The host starts `x402-agent-mcp`; no key, token or passphrase goes into its files.",
    short_help="An MCP host's paying tools.",
    no_args_is_help=True,
)
_OURS = ("--sandbox", "--from", "-P", "-m", "x402_agent_mcp", "x402-agent-mcp")
_KINDS = {"": Exit.OK, "Arguments": Exit.USAGE, "NoAnswer": Exit.FAILED, "Failed": Exit.FAILED}  # of a tool's problem, beside the errors
_UNLOCKS = ("X402_AGENT_PASSPHRASE_FILE", "X402_AGENT_KEYRING", "X402_AGENT_SIGNER")


@app.command("install", short_help="Put the server into a host's list.")
def install(
    host: Annotated[str, typer.Argument(help=f"Which host: {', '.join(HOSTS)}.")],
    print_: Annotated[bool, typer.Option("--print", help="Only print the configuration; write nothing.")] = False,
    sandbox: Annotated[bool | None, typer.Option("--sandbox/--real", help="Pay the sandbox that `sandbox up` runs, or real money; test money where there is no wallet yet.")] = None,
    file: Annotated[str, typer.Option(help="Another configuration file than the host's own: that of a project, say.")] = "",
    json: Json = False,
) -> None:
    """Show what changes in the host's configuration, keep a copy of the file beside it, write it, say what to do next.

    Every other entry and comment stays. The command is an absolute path, so it starts without PATH. What may hold a secret is not copied from the environment.
    """
    with errors(json):
        one = _host(host)
        _installed()
        env = Env()
        tested = sandbox if sandbox is not None else not _paying(env)
        entry = one.entry(tested, env)
        path = Path(file).expanduser().absolute() if file else one.path(env)
        if print_:
            as_json({"host": host, "file": str(path), "server": NAME, "entry": entry, "sandbox": tested}) if json else sys.stdout.write(one.snippet(entry))
        else:
            kept, before = _write(one, path, entry)
            changed = before != entry
            if json:
                as_json({"host": host, "file": str(path), "server": NAME, "entry": entry, "sandbox": tested, "changed": changed, "backup": str(kept) if kept else ""})
            else:
                _show(one, path, before, entry, kept)
        for line in _notes(tested, sandbox, env):
            say(line)
        say(f'{f"put it into {plain(str(path), 400)}; then " if print_ else ""}{one.after.format(title=one.title)}, then ask: "what is my budget?"')


@app.command("call", short_help="Call a tool as a host would.")
def call(
    tool: Annotated[str, typer.Argument(help="Which tool; without one, all are listed.")] = "",
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments: name=value.", metavar="NAME=VALUE…")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Pay the sandbox that `sandbox up` runs.")] = False,
    client: Annotated[str, typer.Option(help="The client whose budget counts, as a host would name itself.")] = "terminal",
    json: Annotated[bool, typer.Option("--json", help="The answer on one line.")] = False,
) -> None:
    """Print what a model would be told, as JSON: the same code, policy and fences that a host's call goes through.

    An offer lives as long as the process that quoted it, so from a terminal it is fetch that buys. Exit codes are those of every command.
    """
    from ..tools import Tools
    from ..tools.verbs import verbs

    with errors(json), ExitStack() as opened:

        def payer() -> Payer:
            return opened.enter_context(sandbox_payer(Settings.load()) if sandbox else own_payer())

        tools = Tools(payer, client=client, loopback=sandbox)
        known = {each.name: each for each in verbs(tools)}
        if not tool:
            _list(known.values(), json=json)
            return
        if tool not in known:
            raise SettingsError(f"there is no tool {tool!r}", rule="mcp call TOOL", hint=f"one of {', '.join(known)}")
        with tools.sync:
            answer = js.loads(known[tool].now(_arguments(known[tool], arguments or [])))
    as_json(answer) if json else print(js.dumps(answer, indent=2))
    kind = answer.get("problem", {}).get("kind", "")
    raise SystemExit(_KINDS[kind] if kind in _KINDS else exit_code(getattr(errors_of, kind, PaymentError)))


def _list(known: Iterable[Verb], *, json: bool) -> None:
    if json:
        as_json({each.name: {"description": each.says, "arguments": each.schema} for each in known})
        return
    for each in known:
        print(f"{each.name} {' '.join(f'{name}=' for name in each.schema['properties'])}\n    {each.says}")


def _arguments(verb: Verb, given: list[str]) -> dict[str, Any]:
    """`name=value` as the tool takes it; whatever it does not take it refuses itself."""
    made: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise SettingsError(f"{plain(each)!r} is not name=value", rule="mcp call TOOL name=value", hint=f"x402-agent mcp call {verb.name} {' '.join(f'{one}=…' for one in verb.schema['properties'])}")
        whether = verb.schema["properties"].get(name, {}).get("type") == "boolean"
        made[name] = {"true": True, "false": False}.get(value.lower(), value) if whether else value
    return made


@app.command("serve", short_help="The server itself: x402-agent-mcp.", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context) -> None:
    """Serve an MCP host over stdin and stdout, or over HTTP: the same as `x402-agent-mcp`, with the same options.

    --sandbox pays test money; --http, --port and --token-file serve over HTTP; `x402-agent-mcp --help` says it all.
    """
    with errors(machine=False):
        _installed()
    from x402_agent_mcp import main

    raise SystemExit(main(context.args))


def _host(name: str) -> Host:
    if name not in HOSTS:
        raise SettingsError(f"no MCP host is called {name!r} here", rule="mcp install HOST", hint=f"one of {', '.join(HOSTS)}")
    return HOSTS[name]


def _installed() -> None:
    """A host shows a server that cannot start as a riddle: better to say so here."""
    if importlib.util.find_spec("mcp") is None or importlib.util.find_spec("x402_agent_mcp") is None:
        raise SettingsError("the MCP server is not installed", rule="the extra `mcp`", hint="pip install 'x402-agent-sdk[mcp]'")


def _paying(env: Env) -> bool:
    """Whether real money could be paid from here: a wallet, a key, or a signer."""
    return any(env.get(name) for name in ("X402_AGENT_SIGNER", "X402_AGENT_KEYRING", *KEYS.values())) or file_at(env, Settings.load(env).wallet_path).exists()


def _write(host: Host, path: Path, entry: dict[str, Any]) -> tuple[Path | None, dict[str, Any] | None]:
    """Put the entry into the file, whole or not at all; the copy of what was there, and the entry that was. Raises SettingsError."""
    real = Path(os.path.realpath(path))  # people keep such files as links into a folder of theirs
    was = real.read_bytes() if real.exists() else b""
    try:
        fresh, before = host.put(_text(was), entry)
    except SettingsError as why:
        raise SettingsError(f"{path} stays as it is: {why.what}", rule=why.rule, hint=why.hint) from None
    if before == entry:
        return None, before
    real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    like = real.stat() if was or real.exists() else None
    part = real.with_name(f".{real.name}.{secrets.token_hex(6)}.part")
    try:
        _fresh(part, (b"\xef\xbb\xbf" if was.startswith(b"\xef\xbb\xbf") else b"") + fresh.encode(), like)
        if (real.read_bytes() if real.exists() else b"") != was:  # hosts write these files, too
            raise SettingsError(f"{path} was changed by somebody else just now", rule="nothing is overwritten unseen", hint="close the host, then the same command again")
        kept = None
        if was:
            kept = real.with_name(f"{real.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}.bak")
            _fresh(kept, was, like)
        os.replace(part, real)
    finally:
        with suppress(OSError):
            part.unlink()
    return kept, before


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        raise SettingsError("it is not UTF-8", rule=f"byte {why.start}", hint="save it as UTF-8") from None


def _fresh(path: Path, data: bytes, like: os.stat_result | None) -> None:
    """A new file with these bytes, on disk; of the same owner and mode as the old one, and private until it has them."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if like is not None:
        if sys.platform != "win32" and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(path, like.st_uid, like.st_gid)  # under sudo the file stays its user's
        os.chmod(path, like.st_mode & 0o777)


def _show(host: Host, path: Path, before: dict[str, Any] | None, entry: dict[str, Any], kept: Path | None) -> None:
    """The change itself: our entry alone, since the lines around it may hold the secrets of other servers."""
    print(f"file     {plain(str(path), 400)}")
    if before == entry:
        print(f"same     {NAME} stands there already; nothing was written")
        return
    for sign, one in (("-", _veiled(before)), ("+", entry)):
        if one is not None:
            print("\n".join(f"{sign} {line}" for line in host.snippet(one).splitlines()))
    print(f"backup   {plain(str(kept), 400) if kept else 'none: the file is new'}")


def _veiled(entry: Any) -> dict[str, Any] | None:
    """What stood there before, less every value that is not a word of ours: somebody may have put a key or a token into it."""
    if not isinstance(entry, dict):
        return None
    args, env = entry.get("args"), entry.get("env")
    shown = {key: value for key, value in entry.items() if key in ("type", "command")}
    if isinstance(args, list):
        shown["args"] = [each if each in _OURS else "…" for each in args]
    return shown | ({"env": dict.fromkeys(map(str, env), "…")} if isinstance(env, dict) else {})


def _notes(tested: bool, told: bool | None, env: Env) -> list[str]:
    """What the entry needs that is not in it."""
    if tested:
        guessed = [] if told else ["no wallet here yet, so this pays test money only; after `x402-agent wallet new`: the same with --real"]
        return [*guessed, "it pays the sandbox that `x402-agent sandbox up` runs"]
    notes = [f"{name} is set here and was not copied: a host's configuration is no place for a secret" for name in left_out(env)]
    if not _paying(env):
        notes.append("there is no wallet yet: x402-agent wallet new")
    elif not any(env.get(name) for name in _UNLOCKS):
        notes.append("a server cannot ask for a passphrase: set X402_AGENT_PASSPHRASE_FILE, X402_AGENT_KEYRING or X402_AGENT_SIGNER, then the same command again")
    return notes
