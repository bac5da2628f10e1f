"""Read a facilitator's Bazaar by the official client: every page of `resources`, then a search; one JSON document."""

import json
import sys

from x402.extensions.bazaar.facilitator_client import (
    ListDiscoveryResourcesParams,
    SearchDiscoveryResourcesParams,
    with_bazaar,
)
from x402.http import FacilitatorConfig, HTTPFacilitatorClientSync

client = with_bazaar(HTTPFacilitatorClientSync(FacilitatorConfig(url=sys.argv[1]))).extensions.bazaar
rows, offset = [], 0
while page := client.list_resources(ListDiscoveryResourcesParams(type="http", limit=5, offset=offset)).items:
    rows, offset = [*rows, *page], offset + len(page)
found = client.search(SearchDiscoveryResourcesParams(query="joke", network="eip155:84532", limit=3))
print(json.dumps({"rows": [each.to_dict() for each in rows], "found": [each.resource for each in found.resources], "next": found.pagination.cursor}))
