"""`x402-agent plan`: a file of requests, priced; with --run paid for on those terms, each answer in a file of its own."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from x402_agent.cli.app import app


@pytest.fixture
def job(monkeypatch, tmp_path, seller):
    """A home with a key, a seller of two things, and a file that asks for them; -> what runs `plan` on it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("X402_AGENT_HOME", str(home))
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "0x" + "5a" * 32)
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    seller.sells("/a", seller.ok())
    seller.sells("/b", seller.ok(), amount=20_000)
    seller.serves("/free", lambda _: seller.answer(200))
    file = tmp_path / "job.txt"
    post = json.dumps({"method": "POST", "url": seller.url("/b"), "headers": {"x-mine": "1"}, "body": "hello"})
    file.write_text(f"# a job\n{seller.url('/a')}\n\n{post}\n{seller.url('/free')}\n")

    def run(*words):
        return CliRunner().invoke(app, ["plan", str(file), *words])

    run.file, run.goods = file, tmp_path / "goods"
    return run


def test_a_job_is_priced_and_nothing_is_signed(job, seller):
    done = job()
    assert done.exit_code == 0, done.output
    assert "in all 0.03 USD" in done.stderr and "nothing was signed" in done.stderr and done.stderr.count("0.0100 USDC") == 1
    told = json.loads(job("--json").stdout)
    assert (told["total_usd"], told["signed"], told["short"], told["exit"]) == ("0.03", False, [], 0)
    assert [row["free"] for row in told["rows"]] == [False, False, True]
    assert told["rows"][1]["offer"]["cost_usd"] == "0.02" and len(told["rows"][1]["offer"]["digest"]) == 64
    assert seller.proofs == []


def test_it_runs_and_each_answer_is_a_file(job, seller):
    done = job("--run", str(job.goods), "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and [row["outcome"] for row in told["rows"]] == ["spent", "spent", ""]
    assert sorted(each.name for each in job.goods.iterdir()) == ["0001", "0002", "0003"]
    assert [row["file"][-4:] for row in told["rows"]] == ["0001", "0002", "0003"] and len(seller.proofs) == 2
    assert {each.stat().st_mode & 0o777 for each in job.goods.iterdir()} == {0o600}
    again = job("--run", str(job.goods))
    assert again.exit_code == 2 and "never overwritten" in again.stderr and len(seller.proofs) == 2


def test_more_than_its_most_is_not_begun(job, seller):
    done = job("--run", str(job.goods), "--max", "0.02")
    assert done.exit_code == 3 and "--max 0.02" in done.stderr and seller.proofs == []


def test_the_worst_row_is_the_exit_code(job, seller):
    seller.sells("/b", seller.ok(), amount=200_000)
    done = job()
    assert done.exit_code == 3 and "BudgetExceeded: " in done.stderr and "in all 0.01 USD" in done.stderr
    seller.serves("/free", lambda _: seller.answer(402))
    seller.sells("/b", seller.ok())
    assert job().exit_code == 6


def test_a_budget_that_is_too_small_is_told_and_only_partly_run(job, seller, tmp_path):
    (tmp_path / "home" / "policy.toml").write_text('day = "0.02"\n')
    done = job()
    assert done.exit_code == 3 and "the plan takes 0.03 USD of all, and 0.02 are left in this day" in done.stderr
    assert job("--run", str(job.goods)).exit_code == 3 and seller.proofs == []
    assert job("--run", str(job.goods), "--partly", "--workers", "1").exit_code == 3 and len(seller.proofs) == 1


@pytest.mark.parametrize("line", ["no url", '{"url": 3}', '{"method": "GET"}', '{"url": "https://x.example", "more": 1}', "{", "[" * 5000, "http://[::1"])
def test_a_line_that_is_no_request_is_named(job, line):
    job.file.write_text(f"https://a.example/\n{line}\n")
    done = job()
    assert done.exit_code == 2 and f"{job.file}:2" in done.stderr
    job.file.write_text("# nothing\n")
    assert job().exit_code == 2


def test_words_of_a_seller_reach_no_terminal_as_they_are(job, seller):
    job.file.write_text(seller.url("/a?\x1b[31m".replace("\x1b", "%1b")) + "\n")
    assert "\x1b" not in job().stderr
