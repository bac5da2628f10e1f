"""One process under a user of its own: started as root, it loads all code, becomes that user for good, then acts.

python actor.py CODE UID GID cli ARG...          the command line
python actor.py CODE UID GID act JSON            attacks.py's `act`, with these facts; prints what came of it as JSON

CODE is a copy of the package that every user may read; the interpreter's own files may be root's alone, so whatever is
imported late is imported before.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys


def become(uid, gid):
    os.setgroups([int(each) for each in os.environ.get("ACTOR_GROUPS", "").split(",") if each])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    assert os.getresuid() == (uid, uid, uid)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise AssertionError("root again")


def load():
    for name in ("encodings.idna", "stringprep", "resource", "ctypes", "unicodedata", "sqlite3.dump", "zlib", "getpass", "Crypto.Cipher.AES", "sha3", "coincurve", "anyio._backends._asyncio", "httpx2", "httpx",
                 "tenacity", "getpass", "pwd", "grp", "uuid", "platformdirs", "tomllib", "importlib.resources", "zoneinfo"):  # fmt: skip
        importlib.import_module(name)
    import x402_agent

    for each in pkgutil.walk_packages(x402_agent.__path__, "x402_agent."):
        if ".sandbox" not in each.name:
            importlib.import_module(each.name)


def main():
    code, uid, gid, kind, *rest = sys.argv[1:]
    sys.path[:0] = [code, os.path.dirname(os.path.abspath(__file__))]
    load()
    import attacks

    become(int(uid), int(gid))
    os.chdir("/")
    if kind == "cli":
        from x402_agent.cli import main as run

        sys.argv = ["x402-agent", *rest]
        run()
    else:
        print(json.dumps(attacks.act(json.loads(rest[0]))))


if __name__ == "__main__":
    main()
