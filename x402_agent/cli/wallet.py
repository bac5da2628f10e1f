"""`x402-agent wallet`: the encrypted file, by a person. Secrets come from a prompt, stdin or a file, never from argv."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import Settings, SettingsError, Wallet, WalletError, chains
from ..secret import Env, Secret
from ..wallet import FAMILIES, KEYS, Entry, WalletFile, file_at, generate, intake, keystore, private
from .common import as_json, errors, say
from .secrets import ask, new_passphrase, no_dumps, passphrase_of
from .wallet_held import accounts_of, balances

__all__ = ["app"]

app = typer.Typer(
    help="Make, fill and show the encrypted wallet file.\n\n"
    "Its passphrase: X402_AGENT_PASSPHRASE_FILE, X402_AGENT_PASSPHRASE, or typed at the terminal. Its place: "
    "X402_AGENT_WALLET, else the data folder. Keys in X402_AGENT_EVM_KEY, _SOLANA_KEY, _STACKS_KEY and _TRON_KEY pay instead of the file."
    "\n\n"
    "Start with: x402-agent wallet new, write the words down on paper, send little money to the address.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON document; secrets only with --print-mnemonic.")]
PlainJson = Annotated[bool, typer.Option("--json", help="One JSON document, without secrets.")]
Words = Annotated[bool, typer.Option("--print-mnemonic", help="Print the words even where no person looks.")]


@app.command("new", short_help="Make a wallet: fresh words, four families.")
def new(
    words: Annotated[int, typer.Option(help="12 or 24.")] = 12,
    print_mnemonic: Words = False,
    json: Json = False,
) -> None:
    """Make a wallet: fresh words, one account on each family of chains. An existing file is never overwritten.

    The words are shown once, at a terminal. Write them down on paper: they are the only copy beside the file.
    """
    with errors(json):
        no_dumps()
        path = _absent()
        if words not in (12, 24):
            raise SettingsError(f"a new mnemonic has 12 or 24 words, not {words}", rule="--words", hint="--words 12")
        entry = Entry("mnemonic", generate(words))
        file = WalletFile.create(path, [entry], new_passphrase(path))
        shown = print_mnemonic or (sys.stdout.isatty() and not json)
        _told(file, json, entry.secret if shown else None)
        if not shown:
            say("the words were not shown; in a terminal: x402-agent wallet export --print-mnemonic")


@app.command("import", short_help="Put in a key, words or a keystore file.")
def import_(
    source: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]", help="A file; nothing or - for stdin.")
    ] = None,
    chain: Annotated[str, typer.Option("--chain", help="Of a single key: evm, solana, stacks or tron.")] = "",
    name: Annotated[str, typer.Option("--name", help="What policies call this account.")] = "",
    first: Annotated[bool, typer.Option("--first", help="Let it pay before what the wallet has.")] = False,
    keystore_passphrase_file: Annotated[str, typer.Option(help="For a keystore file, where nobody can be asked.")] = "",
    mnemonic_passphrase_file: Annotated[
        str, typer.Option(help="The BIP-39 passphrase of the words, if they have one.")
    ] = "",
    json: PlainJson = False,
) -> None:
    """Put a key, a mnemonic or a keystore v3 file into the wallet; the file is made if there is none.

    A key as its chain's tools write it: 64 hex digits (EVM unless --chain says TRON, Stacks or Solana), 66 that end in 01 (Stacks),
    base58 or a JSON array of 64 numbers (Solana). Its address is shown: if it is not yours, --chain was another.
    Never on the command line: that is visible to others and kept in the shell's history.
    """
    with errors(json):
        no_dumps()
        data = _brought(source or ["-"])
        extra = _line_of(mnemonic_passphrase_file) if mnemonic_passphrase_file else None

        def opens() -> Secret:
            return (
                _line_of(keystore_passphrase_file)
                if keystore_passphrase_file
                else ask("Passphrase of the keystore file: ", hint="--keystore-passphrase-file FILE, or run the command in a terminal")
            )

        entry = intake.entry(data, opens=opens, passphrase=extra, chain=chain, name=name)
        path = _path()
        if path.exists():
            file = WalletFile.add(path, entry, passphrase_of(path), first=first)
        else:
            file = WalletFile.create(path, [entry], new_passphrase(path))
        _told(file, json, None)
        if not chain:
            for other, address in intake.others(entry).items():
                say(f"of the same key: {address} ({other}); nothing is paid from it")


@app.command("show", short_help="Addresses, the file, and who pays.")
def show(
    check: Annotated[bool, typer.Option("--check", help="Unlock, and derive the addresses again.")] = False,
    json: PlainJson = False,
) -> None:
    """Addresses on all four families of chains, the file, and which account pays; what they have where a node is set.

    Needs no passphrase.
    """
    with errors(json):
        path, env, settings = _path(), Env(), Settings.load()
        variables = [name for name in KEYS.values() if env.get(name)]
        own = Wallet.from_env({name: env[name] for name in variables}).account
        if own and not path.exists():
            _paying(own, variables[0], json, _own(settings, json))
            return
        file = WalletFile.read(path)
        if check:
            no_dumps()
            file.unlock(passphrase_of(path))
        pays = own or next(file.accounts[0][each] for each in FAMILIES if each in file.accounts[0])
        if not json:
            _listed(file, settings)
            if check:
                print("checked   every address, derived again from what is in the file")
        facts = {"file": str(path), "accounts": list(file.accounts), "checked": check}
        if json and settings.nodes:
            facts["balances"] = [{each: balances(settings, known[each], each) for each in FAMILIES if each in known} for known in file.accounts]
        _paying(pays, variables[0] if own else "file", json, facts)


@app.command("export", short_help="Write a keystore file, or print the words.")
def export(
    to: Annotated[
        str, typer.Option("--keystore", metavar="FILE", help="Write one account as a keystore v3 file.")
    ] = "",
    account: Annotated[str, typer.Option(help="Which EVM address; the one that pays if not given.")] = "",
    keystore_passphrase_file: Annotated[str, typer.Option(help="Its passphrase; the wallet's own if not given.")] = "",
    print_mnemonic: Annotated[bool, typer.Option("--print-mnemonic", help="Print the words of the wallet.")] = False,
    json: Json = False,
) -> None:
    """Write an account as a keystore v3 file (geth, MetaMask, eth-account), or print the words."""
    with errors(json):
        no_dumps()
        if not to and not print_mnemonic:
            raise SettingsError("export what?", rule="wallet export", hint="--keystore key.json, or --print-mnemonic")
        path = _path()
        file = WalletFile.read(path)
        phrase = passphrase_of(path)
        entries = file.unlock(phrase)
        facts: dict[str, Any] = {}
        if to:
            entry = _chosen(file, entries, account)
            own = _line_of(keystore_passphrase_file) if keystore_passphrase_file else phrase
            target = Path(to).expanduser()
            private.write_new(target, keystore.write(entry.keys()["eip155"], own), hint="--keystore with the name of a new file")
            facts |= {"keystore": to, "address": entry.addresses()["eip155"]}
        if print_mnemonic:
            facts["mnemonic"] = _words(entries)
        if json:
            as_json(facts)
            return
        for name, value in facts.items():
            print(f"{name:9} {value}")


def _own(settings: Settings, json: bool) -> dict[str, Any]:
    """What the accounts of the environment's keys have, where a node is set: for JSON, or printed."""
    has = {each: balances(settings, found, each) for each, found in accounts_of(settings, "").items()} if settings.nodes else {}
    if json:
        return {"balances": has} if has else {}
    for each, networks in has.items():
        for where, rows in networks.items():
            print(f"{FAMILIES[each]:9} {where}: {', '.join(f'{amount} {symbol}' for symbol, amount in rows.items())}")
    return {}


def _path() -> Path:
    return file_at(Env(), Settings.load().wallet_path)


def _absent() -> Path:
    path = _path()
    if path.exists() or path.is_symlink():
        raise WalletError(f"there is a wallet at {path}, and it is never overwritten", rule="one wallet, one file",
                          hint="x402-agent wallet show, or X402_AGENT_WALLET=/path/other.json")  # fmt: skip
    return path


def _brought(source: list[str]) -> Secret:
    """What was given, read from where it lies; argv is looked at only to refuse it, and never quoted."""
    if len(source) > 1 or intake.looks_secret(source[0]):
        raise SettingsError(
            "a key or mnemonic on the command line is visible to others and stays in the shell's history",
            rule="secrets come from stdin or a file", hint="x402-agent wallet import < FILE; and treat this one as known to others",
        )  # fmt: skip
    if source[0] != "-":
        path = Path(source[0]).expanduser()
        if not path.exists():
            raise SettingsError("there is no such file", rule="FILE", hint="x402-agent wallet import FILE")
        data = private.read(path, links=True, public=True)
        if not keystore.looks_like(data) and path.is_file():
            return private.read(path, links=True)  # not encrypted: then nobody else may be able to read it
        return data
    if sys.stdin.isatty():
        return ask("Key or words (not shown): ")
    return Secret(sys.stdin.buffer.read(private.MAX_BYTES))


def _line_of(name: str) -> Secret:
    found = private.read(Path(name).expanduser(), links=True)
    return Secret(found.raw.removesuffix(b"\n").removesuffix(b"\r"))


def _chosen(file: WalletFile, entries: tuple[Entry, ...], account: str) -> Entry:
    for known, entry in zip(file.accounts, entries, strict=True):
        if "eip155" in known and account.lower() in ("", known["eip155"].lower(), known.get("name")):
            return entry
    raise SettingsError(f"{account!r} is no EVM account of this wallet", rule="--account", hint="x402-agent wallet show")


def _words(entries: tuple[Entry, ...]) -> str:
    for entry in entries:
        if entry.kind == "mnemonic":
            return entry.secret.text
    raise SettingsError("this wallet holds keys and no mnemonic", rule="--print-mnemonic", hint="--keystore FILE")


def _told(file: WalletFile, json: bool, words: Secret | None) -> None:
    if json:
        as_json(
            {"file": str(file.path), "accounts": list(file.accounts), **({"mnemonic": words.text} if words else {})}
        )
        return
    if words:
        print(f"\n  {words.text}\n\nWrite these words down in this order, on paper. Who has them has the money.\n")
    _listed(file)


def _listed(file: WalletFile, settings: Settings | None = None) -> None:
    paid = {chain.namespace for chain in chains.builtin()}
    print(f"wallet    {file.path}")
    for known in file.accounts:
        print(f"  {known['kind']}{' ' + known['name'] if 'name' in known else ''}")
        for namespace, family in FAMILIES.items():
            if namespace in known:
                later = "" if namespace in paid else f"   (shown; this release does not pay on {family})"
                print(f"    {family:7} {known[namespace]}{later}")
                has = balances(settings, known[namespace], namespace) if settings else {}
                for name, each in has.items():
                    print(f"            {name}: {', '.join(f'{amount} {symbol}' for symbol, amount in each.items())}")


def _paying(address: str, why: str, json: bool, facts: dict[str, Any]) -> None:
    if json:
        as_json({**facts, "pays": address, "from": why})
    else:
        print(f"pays from {address}{'   ({why} wins over the file)' if why != 'file' and facts else ''}")
