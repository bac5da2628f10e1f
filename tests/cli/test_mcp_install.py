"""`mcp install`: our entry in the file of an MCP host, every other byte as it was, and no secret anywhere."""

from __future__ import annotations

import json
import os
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import nursery
from x402_agent.cli import mcp as command
from x402_agent.cli import mcp_edit
from x402_agent.cli.app import app
from x402_agent.cli.mcp_hosts import HOSTS, environment
from x402_agent.cli.mcp_hosts import command as words

NEEDLE = "0x" + "7e" * 32
ENTRY = {"command": "/usr/bin/x402-agent-mcp", "args": ["--sandbox"], "env": {"X402_AGENT_HOME": '/tmp/ü \\ "x"'}}
JSONC = """\ufeff{
    // mine, keep it
    "theme": "dark", /* and "this": { */
    "mcpServers": {
        "other": {
            "command": "npx",
            "env": { "TOKEN": "ghp_secret" } // theirs
        }, // a trailing comma follows
    },
    "last": [1.50, "a // no comment", "}"],
}
"""
TOML = """# mine
model = "x"  # theirs

[mcp_servers.other]
command = "npx"

[mcp_servers.x402-agent]
command = "/old/place"
args = ["--token", "needle-in-args"]

[mcp_servers.x402-agent.env]
X402_AGENT_PASSPHRASE = "put here by hand"

# about the last one
[last]
text = '''
[mcp_servers.no]
'''
"""


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A person's folders on Linux."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["mcp", "install", *words])


def without(fresh, text):
    """Whether the old text is the new one with pieces taken out that are ours alone."""
    at = 0
    for letter in text:
        at = fresh.find(letter, at) + 1
        if not at:
            return False
    return True


def test_every_host_on_every_system_keeps_its_list_where_it_says():
    home = Path("/h")
    found = {(name, system): str(host.path({"APPDATA": "/roaming"}, system=system, home=home)) for name, host in HOSTS.items() for system in ("darwin", "win32", "linux")}
    assert found == {
        ("claude", "darwin"): "/h/Library/Application Support/Claude/claude_desktop_config.json",
        ("claude", "win32"): "/roaming/Claude/claude_desktop_config.json",
        ("claude", "linux"): "/h/.config/Claude/claude_desktop_config.json",
        **{("claude-code", system): "/h/.claude.json" for system in ("darwin", "win32", "linux")},
        **{("cursor", system): "/h/.cursor/mcp.json" for system in ("darwin", "win32", "linux")},
        ("vscode", "darwin"): "/h/Library/Application Support/Code/User/mcp.json",
        ("vscode", "win32"): "/roaming/Code/User/mcp.json",
        ("vscode", "linux"): "/h/.config/Code/User/mcp.json",
        **{("codex", system): "/h/.codex/config.toml" for system in ("darwin", "win32", "linux")},
    }  # fmt: skip
    assert str(HOSTS["claude-code"].path({"CLAUDE_CONFIG_DIR": "/c"}, home=home)) == "/c/.claude.json"
    assert str(HOSTS["codex"].path({"CODEX_HOME": "/c"}, home=home)) == "/c/config.toml"
    assert str(HOSTS["vscode"].path({"XDG_CONFIG_HOME": "/x"}, system="linux", home=home)) == "/x/Code/User/mcp.json"


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_printed_is_what_is_written(host, home):
    printed = run("--print", host)
    assert printed.exit_code == 0 and not [*home.rglob("*json"), *home.rglob("*.toml")]
    done = run(host)
    path = HOSTS[host].path(os.environ)
    assert done.exit_code == 0 and path.read_text() == printed.stdout
    assert str(path) in done.stdout and "the file is new" in done.stdout and "what is my budget?" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = (tomllib.loads if HOSTS[host].toml else json.loads)(path.read_text())
    entry = read[HOSTS[host].table]["x402-agent"]
    assert Path(entry["command"]).is_absolute() and Path(entry["command"]).is_file() and entry["args"][-1:] == ["--sandbox"]
    again = run(host)
    assert "stands there already" in again.stdout and not [*path.parent.glob("*.bak")]


def test_the_rest_of_a_file_stays_byte_for_byte(home):
    path = home / "config.json"
    path.write_bytes(JSONC.encode())
    path.chmod(0o640)
    done = run("vscode", "--file", str(path))
    fresh = path.read_bytes().decode()
    assert done.exit_code == 0 and without(fresh, JSONC) and fresh.startswith("\ufeff{")
    for kept in ("// mine, keep it", '/* and "this": { */', "} // theirs", "}, // a trailing comma follows", '[1.50, "a // no comment", "}"],'):
        assert kept in fresh
    assert json.loads(mcp_edit._bare(fresh.removeprefix("\ufeff")))["servers"]["x402-agent"]["type"] == "stdio"
    backup = next(home.glob("config.json.*.bak"))
    assert backup.read_bytes() == JSONC.encode() and str(backup) in done.stdout
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path, backup)} == {0o640}
    assert "ghp_secret" not in done.output and not [*home.glob(".*.part")]


def test_an_entry_inside_a_table_goes_behind_its_last_comment_and_takes_the_files_own_indent():
    fresh, before = mcp_edit.in_json(JSONC[1:], "mcpServers", "x402-agent", {"command": "/c", "args": []})
    assert before is None
    assert '        }, // a trailing comma follows\n        "x402-agent": {\n            "command": "/c",\n            "args": []\n        }\n    },\n' in fresh
    again, before = mcp_edit.in_json(fresh, "mcpServers", "x402-agent", {"command": "/d"})
    assert before == {"command": "/c", "args": []} and '        "x402-agent": {\n            "command": "/d"\n        }\n    },\n' in again


@pytest.mark.parametrize(("text", "fresh"), [
    ("", '{\n  "t": {\n    "n": {\n      "a": 1\n    }\n  }\n}\n'),
    ("{}", '{"t": {"n": {"a": 1}}}'),
    ('{"t":{}}\n', '{"t":{"n": {"a": 1}}}\n'),
    ('{"t":{"o":1}}', '{"t":{"o":1, "n": {"a": 1}}}'),
    ('{"t":{"n":0}}', '{"t":{"n":{"a": 1}}}'),
    ('{\r\n\t"t": {}\r\n}', '{\r\n\t"t": {\r\n\t\t"n": {\r\n\t\t\t"a": 1\r\n\t\t}\r\n\t}\r\n}'),
    ('{\n "x": 1 // last\n}', '{\n "x": 1, // last\n "t": {\n  "n": {\n   "a": 1\n  }\n }\n}'),
])  # fmt: skip
def test_json_of_any_shape(text, fresh):
    assert mcp_edit.in_json(text, "t", "n", {"a": 1})[0] == fresh


@pytest.mark.parametrize("text", [
    '{"t": {"n": 1}', "[]", '{"t": []}', '{"t": {}, "t": {}}', '{"t": {"n": 1, "n": 2}}', "\x00", "[" * 100_000, '{"t": {} // }', '{"t": 1e999999999999999999999}x',
])  # fmt: skip
def test_a_file_that_is_not_understood_is_not_touched(text, home):
    path = home / "c.json"
    path.write_text(text)
    with pytest.raises(command.SettingsError):
        mcp_edit.in_json(text, "t", "n", {"a": 1})
    path.write_text(text.replace('"t"', '"mcpServers"').replace('"n"', '"x402-agent"'))
    was = path.read_bytes()
    done = run("cursor", "--file", str(path), "--json")
    assert done.exit_code == 2 and path.read_bytes() == was and [*home.iterdir()] == [path]
    assert str(path) in json.loads(done.stdout)["what"]


def test_no_depth_of_a_file_exhausts_the_stack_where_somebody_raised_the_limit():
    code = "import sys; sys.setrecursionlimit(10**6); from x402_agent.cli import mcp_edit\ntry: mcp_edit.in_json('[' * 10**6, 't', 'n', {})\nexcept Exception as e: print(type(e).__name__)"
    done = nursery.run(code)
    assert (done.returncode, done.stdout.strip()) == (0, "SettingsError"), done.stderr


@pytest.mark.parametrize("wrong", ['{"t": {"n": {"a": 1}}}', '{"z": 1, "t": {}}', '{"z": 1, "t": {"n": {"a": 2}}}'])
def test_an_edit_that_went_wrong_is_not_written(wrong, monkeypatch):
    monkeypatch.setattr(mcp_edit, "_inserted", lambda *_: wrong)
    with pytest.raises(command.SettingsError, match="touching something else"):
        mcp_edit.in_json('{"z": 1}', "t", "n", {"a": 1})


def test_toml_keeps_its_comments_and_loses_our_old_tables_only(home):
    path = home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(TOML)
    done = run("codex")
    fresh = path.read_text()
    assert done.exit_code == 0 and "put here by hand" not in fresh + done.output and "needle-in-args" not in fresh + done.output and "X402_AGENT_PASSPHRASE" in done.stdout
    for kept in (TOML[: TOML.index("[mcp_servers.x402")], TOML[TOML.index("# about") :]):
        assert kept in fresh
    found = tomllib.loads(fresh)
    assert found.pop("mcp_servers").keys() == {"other", "x402-agent"} and found == {k: v for k, v in tomllib.loads(TOML).items() if k != "mcp_servers"}
    assert next(path.parent.glob("*.bak")).read_text() == TOML


@pytest.mark.parametrize("text", [
    'mcp_servers = { other = { command = "x" } }\n', 'mcp_servers.x402-agent.command = "x"\n', "a = \n", "mcp_servers = 1\n",
    "[mcp_servers]\nx402-agent = { command = '''x\n[mcp_servers.x402-agent]\n''' }\n",
])  # fmt: skip
def test_toml_that_cannot_be_edited_in_place_is_not_touched(text, home):
    path = home / "c.toml"
    path.write_text(text)
    done = run("codex", "--file", str(path))
    assert done.exit_code == 2 and path.read_text() == text and [*home.iterdir()] == [path]


@settings(max_examples=120)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8),
       st.dictionaries(st.text(), st.integers(), max_size=2), st.sampled_from([None, 0, 1, "\t"]), st.booleans())  # fmt: skip
def test_any_document_says_what_it_said_and_our_entry(value, servers, indent, noted):
    text = json.dumps({"a": value, "t": servers, "z": value}, indent=indent, ensure_ascii=False)
    if noted and indent is not None:
        text = text.replace("\n", ' // "t": {\n')
    fresh, before = mcp_edit.in_json(text, "t", "n", ENTRY)
    assert before == servers.get("n") and json.loads(mcp_edit._bare(fresh)) == {"a": value, "t": servers | {"n": ENTRY}, "z": value}
    if before is None:
        assert without(fresh, text)
    assert mcp_edit.in_json(fresh, "t", "n", ENTRY)[0].count('"n"') == fresh.count('"n"')


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["command", "X", "y-z"]), st.text(st.characters(codec="utf-8")) | st.lists(st.text(st.characters(codec="utf-8")), max_size=2)))
def test_any_text_in_an_entry_is_toml(entry):
    assert tomllib.loads(mcp_edit.toml_text("t", "n", entry)) == {"t": {"n": entry}}


def test_no_secret_of_the_environment_is_copied_and_each_is_named(monkeypatch, home):
    for name in ("X402_AGENT_EVM_KEY", "X402_AGENT_PASSPHRASE", "X402_AGENT_SLIP", "X402_AGENT_NODES"):
        monkeypatch.setenv(name, NEEDLE)
    monkeypatch.setenv("X402_AGENT_PASSPHRASE_FILE", "secret.txt")
    done = run("claude")
    written = HOSTS["claude"].path(os.environ).read_text()
    assert NEEDLE not in written + done.output
    assert all(f"{name} is set here and was not copied" in done.stderr for name in ("X402_AGENT_EVM_KEY", "X402_AGENT_PASSPHRASE", "X402_AGENT_SLIP", "X402_AGENT_NODES"))
    entry = json.loads(written)["mcpServers"]["x402-agent"]
    assert entry["env"]["X402_AGENT_PASSPHRASE_FILE"] == str(Path("secret.txt").absolute()) and entry["args"] == []


def test_test_money_needs_no_setting_of_real_money():
    env = {"X402_AGENT_HOME": "rel", "X402_AGENT_POLICY": "/p.toml", "X402_AGENT_SIGNER": "/s", "X402_AGENT_NAME": "me", "X402_AGENT_LOOPBACK": "1"}
    assert environment(env, sandbox=True) == {"X402_AGENT_HOME": str(Path("rel").absolute())}
    assert environment(env, sandbox=False) == {"X402_AGENT_HOME": str(Path("rel").absolute()), "X402_AGENT_POLICY": "/p.toml", "X402_AGENT_SIGNER": "/s", "X402_AGENT_NAME": "me"}


def test_a_link_stays_a_link_and_its_target_is_written(home):
    target = home / "dotfiles.json"
    target.write_text("{}")
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").symlink_to(target)
    assert run("cursor").exit_code == 0
    assert (home / ".cursor" / "mcp.json").is_symlink() and "x402-agent" in target.read_text() and len([*home.glob("dotfiles.json.*.bak")]) == 1


def test_what_the_host_wrote_meanwhile_is_not_overwritten(monkeypatch, home):
    path = home / ".claude.json"
    path.write_text('{"a": 1}')
    real = command._fresh

    def slow(file, data, like):
        real(file, data, like)
        path.write_text('{"a": 2}')

    monkeypatch.setattr(command, "_fresh", slow)
    done = run("claude-code")
    assert done.exit_code == 2 and "changed by somebody else" in done.stderr and path.read_text() == '{"a": 2}'
    assert not [*home.glob(".*.part")]


def test_a_disk_that_is_full_leaves_the_file_as_it_was(monkeypatch, home):
    path = home / ".claude.json"
    path.write_text('{"a": 1}')
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device", str(path))))
    done = run("claude-code")
    assert done.exit_code == 1 and path.read_text() == '{"a": 1}' and not [*home.glob(".*.part")]


def test_the_command_needs_no_path_and_a_cache_of_uv_is_named_by_uvx(monkeypatch, tmp_path):
    assert words() == [str(Path(sys.executable).parent / "x402-agent-mcp")]
    for name in ("uv", "uvx", "bare"):
        (tmp_path / name).touch()
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert words() == [str(tmp_path / "python"), "-P", "-m", "x402_agent_mcp"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "archive-v0" / "x" / "bin" / "python"))
    monkeypatch.setenv("UV", str(tmp_path / "uv"))
    assert words()[:2] == [str(tmp_path / "uvx"), "--from"] and "==" in words()[2]


def test_an_unknown_host_and_a_missing_extra_are_said(monkeypatch):
    assert "claude, claude-code, cursor, vscode, codex" in run("emacs").stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run("claude")
    assert done.exit_code == 2 and "x402-agent-sdk[mcp]" in done.stderr


@pytest.mark.parametrize("host", ["claude", "codex"])
def test_a_path_that_is_no_text_is_said_and_nothing_is_written(host, monkeypatch, home):
    monkeypatch.setenv("X402_AGENT_HOME", os.fsdecode(os.fsencode(str(home)) + b"/\xff"))
    done = run(host)
    assert done.exit_code == 2 and "no text in this locale" in done.stderr and not [*home.rglob("*.json"), *home.rglob("*.toml")]


def test_a_file_stays_its_owners(monkeypatch, home):
    path = home / ".claude.json"
    path.write_text("{}")
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 4242)  # as root would see another user's file
    monkeypatch.setattr(os, "chown", lambda where, *who: given.append(who))
    assert run("claude-code").exit_code == 0
    made = path.stat()
    assert given == [(made.st_uid, made.st_gid)] * 2
