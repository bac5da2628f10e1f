"""The sandbox's Bazaar, read by the official package's client."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.full


def test_the_official_client_reads_every_page_and_searches(box, python):
    done = subprocess.run([python, Path(__file__).parent / "catalogue.py", box.facilitator_url], capture_output=True, text=True, timeout=180, check=True)
    told = json.loads(done.stdout)
    assert [each["resource"] for each in told["rows"]] == [box.url(path) for path, route in box.routes.items() if route.price]
    assert all(each["accepts"][0]["payTo"] == box.pay_to and each["lastUpdated"] and each["extensions"]["bazaar"]["info"] for each in told["rows"])
    assert told["found"][0] == box.url("/joke")
    assert told["next"] == "3"
