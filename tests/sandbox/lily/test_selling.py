"""What is paid for and what is not: sessions, proofs, credits, authorisations; the same on both engines."""

from __future__ import annotations


def test_smoke(till):
    r = till.get()
    assert r.status_code == 402, r.text
    print(r.headers, r.json())
    s = till.session()
    print(s)
    r = till.get(session=s["session_token"])
    assert r.status_code == 200, r.text
    print(r.headers)
    sig = till.pay()
    r = till.get(proof=sig)
    assert r.status_code == 200, r.text
    assert till.get(proof=sig).status_code == 200
    print(till.top_up())
    r = till.get(header=till.signed())
    assert r.status_code == 200, r.text
    print(r.headers)
    for t in ("x402_service_configs", "x402_payment_sessions", "x402_payment_credits", "x402_transactions", "x402_payment_authorizations", "x402_analytics"):
        r = till.rest("GET", t + "?select=*")
        print(t, r.status_code, r.text)
    r = till.rest("PATCH", f"x402_payment_sessions?session_token=eq.{s['session_token']}", {"status": "revoked"})
    print(r.status_code, r.text)
    assert till.get(session=s["session_token"]).status_code == 403
