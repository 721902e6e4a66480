"""The commands that need no server: what they print, for people and for programs, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bouncefiler.cli import Listed, main
from bouncefiler.edge.store import open_store
from bouncefiler.filing.plan import Arrival, Judged, MessageRef, Method, Move, MoveBatch
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict
from bouncefiler.sweep import FolderState, Moved

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAMPLE = Path(__file__).parent / "mail" / "qmail"


def bouncefiler(
    *arguments: str, home: Path, stdin: bytes = b"", language: str = "C.UTF-8"
) -> subprocess.CompletedProcess[bytes]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": language}
    command = [sys.executable, "-m", "bouncefiler", *arguments]
    return subprocess.run(command, input=stdin, env=environ, capture_output=True, timeout=60, check=False)


def sample() -> Path:
    return min(SAMPLE.glob("*.eml"))


def test_explain_writes_one_object_a_line_whose_first_fields_are_those_that_are_scored(tmp_path: Path) -> None:
    done = bouncefiler("explain", "--json", str(sample()), str(sample()), home=tmp_path)

    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    assert list(first)[:5] == ["id", "is_bounce", "kind", "cause", "recipients"]
    assert (first["id"], first["is_bounce"], first["kind"]) == (sample().stem, True, "failed")
    assert all(isinstance(address, str) for address in first["recipients"])


def test_explain_reads_standard_input(tmp_path: Path) -> None:
    done = bouncefiler("explain", home=tmp_path, stdin=sample().read_bytes())

    assert done.returncode == 0
    assert b"qmail" in done.stdout


def test_explain_says_which_rows_spoke(tmp_path: Path) -> None:
    verdict = json.loads(bouncefiler("explain", "--json", str(sample()), home=tmp_path).stdout)
    text = bouncefiler("explain", str(sample()), home=tmp_path).stdout.decode()

    assert verdict["evidence"]
    assert all(fact["rule"] in text for fact in verdict["evidence"])


def test_explain_gives_advice_in_the_readers_language(tmp_path: Path) -> None:
    english = bouncefiler("explain", str(sample()), home=tmp_path).stdout
    portuguese = bouncefiler("explain", str(sample()), home=tmp_path, language="pt_BR.UTF-8").stdout

    assert english != portuguese


def test_explain_goes_on_after_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    done = bouncefiler("explain", "--json", str(tmp_path / "none.eml"), str(sample()), home=tmp_path)

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.decode().startswith("bouncefiler: ")
    assert "none.eml" in done.stderr.decode()


def test_explain_lets_no_control_character_of_a_mail_through(tmp_path: Path) -> None:
    hostile = sample().read_bytes().replace(b"example", b"\x1b]0;x\x07\xe2\x80\xae\x9bexample")

    for arguments in (("explain",), ("explain", "--json")):
        out = bouncefiler(*arguments, home=tmp_path, stdin=hostile).stdout
        assert out
        assert not {b"\x1b", b"\x07", b"\x9b", b"\xe2\x80\xae"} & {
            out[i : i + n] for n in (1, 3) for i in range(len(out))
        }


@pytest.mark.parametrize("command", ["preview", "clean", "undo", "history", "run", "folders"])
def test_without_a_configuration_each_command_says_where_it_belongs(tmp_path: Path, command: str) -> None:
    done = bouncefiler(command, home=tmp_path)

    assert done.returncode == 78
    assert str(tmp_path / ".config" / "bouncefiler" / "config.toml") in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_an_account_that_there_is_not_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[accounts.home]\nhost = "mail.example.org"\nuser = "ana"\n')

    done = bouncefiler("--config", str(config), "login", "work", home=tmp_path)

    assert done.returncode == 78
    assert "work" in done.stderr.decode()
    assert "home" in done.stderr.decode()


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "d", "-1d", "999999d", "9" * 5000 + "d", "2999-01-01"])
def test_a_date_that_is_none_or_yet_to_come_is_refused(tmp_path: Path, when: str) -> None:
    done = bouncefiler("preview", "--since", when, home=tmp_path)

    assert done.returncode == 2
    assert b"--since" in done.stderr


def test_history_shows_no_control_character_of_a_mail_and_needs_no_server(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with open_store(state / "home.sqlite3", holder="test") as store:
        store.begin_run("clean", NOON)
        arrival = Arrival(MessageRef("INBOX", 1, 1), Fingerprint("00" * 16), NOON, 10)
        verdict = Verdict(Kind.FAILED, Cause.UNKNOWN, (Recipient("\x1b]0;x\x07@example.org"),))
        batch = MoveBatch(
            "INBOX", 1, "Bounces", (Move(Judged(arrival, verdict, "\u202e\x9bhi\r\nthere"), "x", by_rule=False),)
        )
        store.intend(batch, FolderState("Bounces", 2, 1, 0), Method.MOVE)
        store.settle_moved(batch, Moved(2, {1: 1}))
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{state}"\n[accounts.home]\nhost = "mail.invalid"\nuser = "ana"\n')

    for arguments in (("--run", "1"), ("--run", "1", "--json")):
        done = bouncefiler("--config", str(config), "history", *arguments, home=tmp_path)
        text = done.stdout.decode()
        assert "hi" in text
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(text)
        assert len(text.splitlines()) == (1 if "--json" in arguments else 3)
    assert "clean" in bouncefiler("--config", str(config), "history", home=tmp_path).stdout.decode()


@pytest.mark.parametrize("command", ["undo", "history"])
def test_where_runs_are_numbered_by_account_one_has_to_be_named(tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.toml"
    account = 'host = "mail.invalid"\nuser = "ana"\n'
    config.write_text(f"[accounts.home]\n{account}[accounts.work]\n{account}")

    done = bouncefiler("--config", str(config), command, "--run", "1", home=tmp_path)

    assert done.returncode == 2
    assert "--account home or work" in done.stderr.decode()


@pytest.mark.parametrize("number", ["x", "0", "-1", "1.5", "9" * 30])
@pytest.mark.parametrize("command", ["undo", "history"])
def test_a_run_that_is_no_number_is_refused_and_where_numbers_are_is_said(
    tmp_path: Path, command: str, number: str
) -> None:
    done = bouncefiler(command, "--run", number, home=tmp_path)

    assert done.returncode == 2
    assert b"`bouncefiler history` lists them" in done.stderr


def test_undo_takes_one_choice_only(tmp_path: Path) -> None:
    done = bouncefiler("undo", "--run", "1", "--since", "1d", home=tmp_path)

    assert done.returncode == 2
    assert b"exclude" in done.stderr


def test_help_loads_nothing_heavy() -> None:
    """The program's parts are only loaded by the commands that use them."""
    heavy = {
        "imapclient",
        "pydantic",
        "apscheduler",
        "keyring",
        "rich",
        "sqlite3",
        "bouncefiler.app",
        "bouncefiler.render",
        "bouncefiler.sweep",
    }
    start = "import sys; from bouncefiler.cli import main; "
    all_commands = "[command.load() for command in main.commands.values()]; "
    help_alone = "main(['--help'], standalone_mode=False); "

    listed = modules_after(start + help_alone)
    loaded = modules_after(start + all_commands)

    assert "click" in listed
    assert {name for name in listed if name.startswith("bouncefiler.")} == {"bouncefiler.cli", "bouncefiler.errors"}
    assert "bouncefiler.cli.filing" in loaded
    assert not heavy & (listed | loaded)


def modules_after(code: str) -> set[str]:
    code += "print('modules', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules ")[2].split())


def test_each_command_is_listed_with_its_module() -> None:
    """What --help lists can be called by that name, and is found where it is said to be."""

    listed = [command for command in main.commands.values() if isinstance(command, Listed)]

    assert len(listed) == len(main.commands) == 14
    assert [command.load().name for command in listed] == [command.name for command in listed]


def test_a_mistyped_command_is_guessed(tmp_path: Path) -> None:
    done = bouncefiler("previw", home=tmp_path)

    assert done.returncode == 2
    assert b"preview" in done.stderr


def configured(home: Path, text: str) -> None:
    path = home / ".config" / "bouncefiler" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


ACCOUNT = '[accounts.{name}]\nhost = "imap.example.org"\nuser = "{user}"\n'


def test_posture_leaves_a_providers_domain_to_the_provider(tmp_path: Path) -> None:
    done = bouncefiler("posture", "--domain", "gmail.com", home=tmp_path)

    assert done.returncode == 0
    assert b"gmail.com belongs to Gmail (Google)" in done.stdout


def test_posture_looks_at_the_domains_of_the_accounts(tmp_path: Path) -> None:
    """Each once, in the reader's language; one that is not to be seen from the user's name is asked for."""

    users = {"home": "ana@hotmail.com.br", "work": "bia@hotmail.com.br", "club": "carla", "shop": "d@yahoo.com.br"}
    configured(tmp_path, "".join(ACCOUNT.format(name=name, user=user) for name, user in users.items()))
    done = bouncefiler("posture", home=tmp_path, language="pt_BR.UTF-8")

    assert done.returncode == 0
    assert done.stdout.decode().count("pertence a") == 2
    assert b"\n\n\n" not in done.stdout
    assert done.stderr.decode() == (
        "bouncefiler: club: its user name is no address, so say which domain: bouncefiler posture --domain DOMAIN\n"
    )


@pytest.mark.parametrize("arguments", [(), ("--domain", "example.org")])
def test_posture_looks_at_the_keys_that_the_accounts_mail_was_signed_by(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """By what is remembered of any account, also while the service is at work; one that has none yet is no trouble."""

    configured(tmp_path, "dns = false\n" + "".join(ACCOUNT.format(name=name, user="a@example.org") for name in "abc"))
    state = tmp_path / ".local" / "state" / "bouncefiler"
    with open_store(state / "a.sqlite3", holder="test") as one, open_store(state / "b.sqlite3", holder="test") as other:
        one.learn("selector", ["s1._domainkey.example.org", "s2._domainkey.example.net"], datetime.now(UTC))
        other.learn("selector", ["s3._domainkey.example.org", "s1._domainkey.example.org"], datetime.now(UTC))
        done = bouncefiler("posture", *arguments, "--json", home=tmp_path)

    keys = [found["text"] for found in json.loads(done.stdout)["findings"] if found["code"].startswith("dkim")]
    assert keys == ["s1", "s3"]
    assert sorted(path.name for path in state.glob("*.sqlite3")) == ["a.sqlite3", "b.sqlite3"]


def test_posture_says_how_to_name_a_domain(tmp_path: Path) -> None:
    configured(tmp_path, ACCOUNT.format(name="club", user="carla"))
    done = bouncefiler("posture", home=tmp_path)

    assert done.returncode == 2
    assert b"--domain" in done.stderr


@pytest.mark.parametrize("domain", ["", "org", "a b", "ana@example.org", "-x.org"])
def test_posture_refuses_what_is_no_domain(tmp_path: Path, domain: str) -> None:
    done = bouncefiler("posture", "--domain", domain, home=tmp_path)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"is not the name of a domain" in done.stderr


def test_posture_asks_nobody_when_it_may_not(tmp_path: Path) -> None:
    """It says so, and that nothing is known; nothing is called absent."""

    configured(tmp_path, "dns = false\n" + ACCOUNT.format(name="home", user="ana@example.org"))
    done = bouncefiler("posture", home=tmp_path)
    record = json.loads(bouncefiler("posture", "--json", home=tmp_path).stdout)

    assert done.returncode == 0
    assert b"dns = false" in done.stdout
    assert b"no record" not in done.stdout
    assert {finding["severity"] for finding in record["findings"]} == {"unknown"}
    assert (record["what"], record["domain"], record["suggestions"]) == ("posture", "example.org", [])
