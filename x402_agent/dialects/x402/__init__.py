"""x402, versions 1 and 2: one challenge, one rule for where it stands, one header back.

A PAYMENT-REQUIRED header, when there is one, decides alone: its x402Version says 1 or 2 and the body is not even read.
Else a body that is a JSON object with x402Version 1 or 2 decides (version 2 in the body too). They are never merged.
What is bought is the URL that was asked, whatever `resource.url` says; another host named there is shown to people.
"""

from .dialect import X402

__all__ = ["X402"]
