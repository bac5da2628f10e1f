"""The table in docs/safety.md has no holes: every row is tested, or stands there as not met with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostile import rows_http, rows_money, rows_weight

ROOT = Path(__file__).parent.parent.parent
ROWS = {
    f"{letter}{number}"
    for letter, last in {
        "P": 18, "A": 14, "D": 16, "R": 9, "L": 11, "O": 11, "W": 17, "S": 10, "T": 13, "V": 12, "X": 10, "K": 10, "Z": 17,
        "Q": 4,
    }.items()
    for number in range(1, last + 1)
}  # fmt: skip
ELSEWHERE = {
    "A13": "tests/chains/solana/test_ready.py::test_R9_A13_what_would_not_settle_is_not_held",
    "D14": "tests/chains/solana/test_solana_message.py::test_D14_the_fee_payer_is_in_no_instruction_and_nothing_else_is_called",
    "D15": "tests/chains/stacks/test_door.py::test_D15_a_token_moves_under_deny_and_one_exact_post_condition",
    "D16": "tests/chains/tron/test_transaction.py::test_what_is_none_of_ours_is_not_signed",
    "R9": "tests/chains/solana/test_ready.py::test_R9_A13_what_would_not_settle_is_not_held",
    "K1": "tests/cli/test_credentials.py::test_K1_the_token_is_nowhere_but_on_the_wire",
    "K2": "tests/transport/test_credentials.py::test_K2_the_sellers_count_lowers_ours_and_never_raises_it",
    "K3": "tests/transport/test_credentials.py::test_K3_a_refused_one_is_forgotten_and_what_is_bought_then_is_a_purchase_under_budget",
    "K4": "tests/transport/test_credentials.py::test_K4_what_cannot_be_written_down_leaves_its_payment_open_and_the_same_payment_gets_it",
    "K6": "tests/transport/test_credentials.py::test_K6_what_is_not_sound_is_not_kept_and_breaks_no_later_request",
    "K8": "tests/cli/test_credentials.py::test_K8_renew_forgets_what_was_delivered_and_buys_only_on_the_next_request",
    "P15": "tests/transport/test_policy.py::test_P15_a_price_that_jumps_is_asked_about_and_refused_where_nobody_answers",
    "S10": "tests/ledger/test_size.py::test_S10_many_payments_open_at_once_and_are_whole",
    "V7": "tests/ledger/test_charges.py::test_V7_the_ceiling_counts_until_the_chain_shows_less",
    "Z2": "tests/ledger/test_bytes.py::test_Z2_a_torn_tail_of_the_log_loses_nothing_that_was_acknowledged",
    "Z6": "tests/recovery/test_kill.py::test_killed",
    "Z7": "tests/ledger/test_files.py::test_a_failed_write_is_an_error_for_each_job_of_the_batch_and_memory_forgets",
    "Z8": "tests/ledger/test_files.py::test_a_lock_that_does_not_lock_is_refused",
    "Z10": "tests/wallet/test_file.py::test_Z10_a_file_that_others_can_read_is_refused",
    "Z11": "tests/cli/test_wallet.py::test_Z11_a_process_with_a_key_leaves_no_core",
    "Z13": "tests/ledger/test_files.py::test_symbolic_links_are_refused",
    "Q2": "tests/test_architecture.py::test_the_core_has_no_crypto_and_every_requirement_has_a_hash",
    "Q4": "tests/chains/test_evm_signing.py::test_signatures_equal_eth_account",
}


NODES = {f"C{number}" for number in range(1, 22)}  # rows of nodes, in a table of their own
PLAYED = {
    "C13": "tests/chains/solana/test_solana_message.py::test_D14_the_fee_payer_is_in_no_instruction_and_nothing_else_is_called",
    "C15": "tests/chains/stacks/test_stacks_fate.py::test_a_payment_that_nobody_sent_is_never_dead",
    "C16": "tests/chains/stacks/test_door.py::test_a_sponsor_pays_the_fee_and_still_it_is_found",
    "C17": "tests/broadcast/test_broadcast.py::test_V9_a_block_below_finality_is_not_the_end_and_a_reorg_brings_it_back",
    "C21": "tests/chains/test_fate.py::test_T10_a_final_block_not_past_expiry_is_unknown",
}


CATALOGUES = {f"Y{number}" for number in range(1, 15)}  # and rows of catalogues
LISTED = {"Y7": "tests/policy/test_evidence.py::test_P15_dearer_than_the_catalogue_says_asks_and_with_otherwise_ask_so_does_a_stranger"}


def documented():
    """The rows of docs/safety.md: what is promised, held in part, not met."""
    page = (ROOT / "docs" / "safety.md").read_text("utf-8").partition("## Rows")[2]
    promised, _, rest = page.partition("Held in part:")
    part, _, unmet = rest.partition("Not met:")
    return [set(re.findall(r"^\| ([A-Z][0-9]+) \|", text, re.M)) for text in (promised, part, unmet)]


def played():
    cases = {case.row for case in [*rows_money.CASES, *rows_http.CASES, *rows_weight.CASES]}
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"^def test_((?:[A-Z][0-9]+_)+)", text, re.M)
    return cases | {row for names in named for row in names.strip("_").split("_")} | set(ELSEWHERE)


def test_every_row_is_tested_or_not_met_and_never_both():
    promised, part, unmet = documented()
    assert played() & ROWS == promised, sorted(promised ^ (played() & ROWS))
    assert promised | unmet == ROWS, sorted(ROWS - promised - unmet)
    assert not promised & unmet
    assert part <= promised


def test_every_row_of_nodes_is_told_and_played():
    page = (ROOT / "docs" / "safety.md").read_text("utf-8").partition("## Nodes and our own")[2].partition("\n## ")[0]
    text = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {row for names in re.findall(r"^def test_((?:[A-Z][0-9]+_)+)", text, re.M) for row in names.strip("_").split("_")}
    assert set(re.findall(r"^\| (C[0-9]+) \|", page, re.M)) == NODES == (named | set(PLAYED)) & NODES


def test_every_row_of_catalogues_is_told_and_played():
    page = (ROOT / "docs" / "safety.md").read_text("utf-8").partition("## Catalogues")[2].partition("\n## ")[0]
    text = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {row for names in re.findall(r"^def test_((?:[A-Z][0-9]+_)+)", text, re.M) for row in names.strip("_").split("_")}
    assert set(re.findall(r"^\| (Y[0-9]+) \|", page, re.M)) == CATALOGUES == (named | set(LISTED)) & CATALOGUES


@pytest.mark.parametrize("where", [*ELSEWHERE.values(), *PLAYED.values(), *LISTED.values()])
def test_a_test_that_stands_elsewhere_exists(where):
    path, _, name = where.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.M)


def test_no_error_names_a_row_that_the_page_does_not_have():
    promised, _, _ = documented()
    others = re.compile(r"\((?:row |rows )?([A-Z][0-9]{1,2})\)")
    for path in (ROOT / "x402_agent").rglob("*.py"):
        named = {row for row in others.findall(path.read_text("utf-8")) if row[0] in "PADRLOWSTVXZQ"}
        assert named <= promised, f"{path.name}: {named - promised}"
