"""A budget says no before anything is signed, and says which rule it was."""

from x402_agent import Budget, BudgetExceeded, Payer

with Payer.sandbox(budget=Budget("0.02/total", per_call="0.10")) as payer, payer.client() as http:
    for _ in range(3):
        try:
            print(http.get(payer.sandbox.url("/joke")).extensions["payment"])
        except BudgetExceeded as refusal:
            print(refusal)
