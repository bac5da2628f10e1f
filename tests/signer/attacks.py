"""What an agent's user tries against the signer's files, processes, command line and socket. Nothing here may succeed."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path


def tried(attempt):
    """The name of what stopped it, or "DONE"."""
    try:
        attempt()
    except OSError as why:
        return type(why).__name__
    return "DONE"


def files(home, run):
    """Every file and folder of the signer's: read, write, exchange, delete, link."""
    found = {}
    names = ["policy.toml", "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock", "wallet.json", "passphrase", "ledgers", ""]
    mine = Path(os.environ["X402_AGENT_HOME"])
    (mine / "fake").write_text("day = '1000000'\n")
    for name in names:
        path = Path(home) / name
        found[f"read {name}"] = tried(lambda path=path: open(path, "rb").read(1) if path != Path(home) else os.listdir(path))
        found[f"write {name}"] = tried(lambda path=path: open(path if path != Path(home) else path / "new", "ab").write(b"x"))
        found[f"chmod {name}"] = tried(lambda path=path: os.chmod(path, 0o777))  # noqa: S103
        found[f"replace {name}"] = tried(lambda path=path: os.replace(mine / "fake", path))
        found[f"unlink {name}"] = tried(lambda path=path: os.unlink(path))
        found[f"link {name}"] = tried(lambda path=path: os.link(path, mine / "linked"))
    sock = Path(run) / "signer.sock"
    found["list socket folder"] = tried(lambda: os.listdir(run))
    found["unlink socket"] = tried(lambda: os.unlink(sock))
    found["rename socket folder"] = tried(lambda: os.rename(run, run + ".old"))
    found["symlink in socket folder"] = tried(lambda: os.symlink(mine, Path(run) / "other"))
    found["chmod socket"] = tried(lambda: os.chmod(sock, 0o777))  # noqa: S103
    return found


def processes(pid):
    """The service's memory, environment and life."""
    found = {f"/proc {name}": tried(lambda name=name: open(f"/proc/{pid}/{name}", "rb").read(1)) for name in ("environ", "mem", "maps")}
    found["list /proc fd"] = tried(lambda: os.listdir(f"/proc/{pid}/fd"))
    found["kill"] = tried(lambda: os.kill(pid, 9))
    return found


def command(*words, home=None):
    """One run of the command line in this process: its exit code and all that it said."""
    from x402_agent.cli.app import app

    out, before = io.StringIO(), dict(os.environ)
    if home:
        os.environ["X402_AGENT_HOME"] = home
        os.environ.pop("X402_AGENT_SIGNER", None)
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(out):
            app(list(words), prog_name="x402-agent", standalone_mode=False)
    except SystemExit as why:
        code = why.code or 0
    except BaseException as why:  # typer's own exits, or a refusal by the system
        code = getattr(why, "exit_code", 1)
        out.write(f"{type(why).__name__}: {why}")
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, out.getvalue()


def commands(home):
    """The person's commands, once on the signer's own folder, once on a folder of our own."""
    found = {}
    for where in (home, None):
        for words in (
            ("budget", "set", "1000000/day", "--per-call", "1000"),
            ("budget", "unpin", "http://127.0.0.1"),
            ("wallet", "show", "--json"),
            ("wallet", "export", "--print-mnemonic"),
            ("log", "--json"),
            ("resume", "--json"),
            ("signer", "doctor", "--json"),
        ):
            found[f"{' '.join(words)} {'theirs' if where else 'ours'}"] = command(*words, home=where)
    return found


def talk(path, messages):
    """Messages to the service; -> its answers, None where it cut us off."""
    found = []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        for message in [{"op": "hello", "protocol": 1}, *messages]:
            data = json.dumps(message).encode()
            with suppress(BrokenPipeError):  # it has hung up, and may have said why
                sock.sendall(struct.pack(">I", len(data)) + data)
            with suppress(OSError):
                head = sock.recv(4, socket.MSG_WAITALL)
                if len(head) == 4:
                    found.append(json.loads(sock.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)))
                    continue
            found.append(None)
            break
    return found


def pays(url, times, **options):
    """Paying as an honest agent does; -> status, outcome or the error's words of each call."""
    from x402_agent import Payer, PaymentError

    found = []
    with Payer.from_env() as payer, payer.client() as http:
        for _ in range(times):
            try:
                reply = http.get(url, extensions={"payment": options})
                found.append([reply.status_code, str(reply.extensions.get("payment")), reply.extensions["payment"].payment_id])
            except PaymentError as why:
                found.append([type(why).__name__, str(why), why.payment_id])
    return found


def act(facts):
    """Everything that `facts` names, under the user that this process has become."""
    os.environ.update(facts.get("env", {}))
    return {
        "uid": os.getuid(),
        "files": files(facts["home"], facts["run"]) if "files" in facts["do"] else None,
        "processes": processes(facts["pid"]) if "files" in facts["do"] else None,
        "commands": commands(facts["home"]) if "commands" in facts["do"] else None,
        "talk": talk(facts["socket"], facts["messages"]) if "talk" in facts["do"] else None,
        "pays": pays(facts["url"], facts["times"]) if "pay" in facts["do"] else None,
    }
