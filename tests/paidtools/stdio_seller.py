"""The sandbox's seller of tools behind a pipe: each line from stdin goes to the URL in argv, its answer to stdout. The names of its
environment go to the file in argv."""

import os
import sys
import urllib.request
from pathlib import Path

Path(sys.argv[2]).write_text(" ".join(sorted(os.environ)))
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for line in sys.stdin:
    request = urllib.request.Request(sys.argv[1], data=line.encode(), headers={"content-type": "application/json"})  # noqa: S310
    with direct.open(request) as answer:
        body = answer.read()
    if body:
        sys.stdout.write(body.decode() + "\n")
        sys.stdout.flush()
