"""The official facilitator's own check of payments on Solana: one JSON line in, one out, with no node behind it.

Its signer signs and simulates as the official one does, but by checking the signatures instead of asking a node.
"""

from __future__ import annotations

import base64
import json
import sys

from solders.keypair import Keypair
from solders.transaction import VersionedTransaction
from x402.mechanisms.svm.exact.facilitator import ExactSvmScheme
from x402.mechanisms.svm.exact.v1.facilitator import ExactSvmSchemeV1
from x402.mechanisms.svm.signers import FacilitatorKeypairSigner
from x402.schemas import PaymentPayload, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1


class Signer(FacilitatorKeypairSigner):
    """The official signer, whose simulation is the check of both signatures."""

    def simulate_transaction(self, tx_base64: str, network: str) -> None:
        """Raises RuntimeError for a signature that does not hold."""
        if not all(VersionedTransaction.from_bytes(base64.b64decode(tx_base64)).verify_with_results()):
            raise RuntimeError("a signature does not hold")


def main() -> None:
    """Verify what stands on each line of stdin."""
    signer = Signer(Keypair.from_seed(bytes([3] * 32)))
    kinds = {1: (ExactSvmSchemeV1(signer), PaymentPayloadV1, PaymentRequirementsV1),
             2: (ExactSvmScheme(signer), PaymentPayload, PaymentRequirements)}  # fmt: skip
    for line in sys.stdin:
        sent = json.loads(line)
        scheme, payload, wanted = kinds[sent["payload"]["x402Version"]]
        found = scheme.verify(payload.model_validate(sent["payload"]), wanted.model_validate(sent["requirements"]))
        print(json.dumps({"valid": found.is_valid, "reason": found.invalid_reason, "payer": found.payer}))


if __name__ == "__main__":
    main()
