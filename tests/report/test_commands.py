"""`status`, `export` and `report` as somebody types them, on a state file, without a server."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bouncefiler.edge.store import open_store
from tests.report import tales

CONFIG = """\
state_dir = "{home}/state"
[accounts.home]
host = "mail.garden.example"
user = "ana@garden.example"
[accounts.work]
host = "mail.garden.example"
user = "ana@office.example"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG.format(home=tmp_path), encoding="utf-8")
    (tmp_path / "state").mkdir()
    return tmp_path


def state(home: Path, account: str = "home") -> Path:
    return home / "state" / f"{account}.sqlite3"


def bouncefiler(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bouncefiler", "--config", str(home / "config.toml"), *arguments]
    known = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, env=known | environ, cwd=home, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


def now() -> datetime:
    return datetime.now(UTC)


def test_status_ends_with_0_whether_all_is_well_or_not(home: Path) -> None:
    tales.quiet_year(state(home), now())
    tales.flood(state(home, "work"), now(), size=50)

    done = bouncefiler(home, "status")

    assert (done.returncode, done.stderr) == (0, "")
    assert "home: All is well." in done.stdout
    assert "work: Somebody is probably sending mail with your address as the sender." in done.stdout
    assert "INBOX is over quota" in done.stdout


def test_status_of_one_account_for_programs(home: Path) -> None:
    tales.flood(state(home, "work"), now(), size=50)

    done = bouncefiler(home, "status", "-a", "work", "--json")

    (line,) = done.stdout.splitlines()
    assert json.loads(line)["states"] == ["backscatter", "undelivered"]
    assert json.loads(line)["filed"]["folders"] == {"Bounces": 74}


def test_status_makes_no_file(home: Path) -> None:
    assert "has not looked into this mailbox yet" in bouncefiler(home, "status").stdout
    assert list((home / "state").iterdir()) == []


def test_status_says_who_is_at_work(home: Path) -> None:
    with open_store(state(home), holder="bouncefiler run"):
        done = bouncefiler(home, "status", "-a", "home")

    assert f"`bouncefiler run` (process {os.getpid()})" in done.stdout


def test_status_speaks_portuguese(home: Path) -> None:
    tales.quiet_year(state(home), now())

    assert "home: Está tudo bem." in bouncefiler(home, "status", LANG="pt_BR.UTF-8").stdout


def test_status_without_unicode_draws_with_ascii(home: Path) -> None:
    tales.quiet_year(state(home), now())

    shown = bouncefiler(home, "status", "-a", "home", PYTHONIOENCODING="ascii").stdout

    assert shown.isascii()
    assert "?" not in shown


def test_a_damaged_state_file_is_named(home: Path) -> None:
    state(home).write_bytes(b"no database" * 100)

    done = bouncefiler(home, "status")

    assert done.returncode == 74
    assert "home.sqlite3" in done.stderr
    assert "work: bouncefiler has not looked" in done.stdout


def test_export_lists_the_dead_addresses_of_all_accounts(home: Path) -> None:
    tales.quiet_year(state(home), now())
    tales.flood(state(home, "work"), now(), size=30)

    table = list(csv.reader(bouncefiler(home, "export", "--dead").stdout.splitlines()))
    array = json.loads(bouncefiler(home, "export", "--dead", "--format", "json", "-a", "home").stdout)

    assert {row[0] for row in table[1:]} == {"home", "work"}
    assert [each["address"] for each in array] == [row[1] for row in table[1:] if row[0] == "home"]
    assert array


def test_export_writes_a_file_but_over_none(home: Path) -> None:
    tales.quiet_year(state(home), now())
    arguments = ("export", "--dead", "-a", "home", "--output", "dead.csv")

    assert bouncefiler(home, *arguments).returncode == 0
    written = (home / "dead.csv").read_bytes()
    again = bouncefiler(home, *arguments)

    assert written.startswith(b"account,address,")
    assert written.count(b"\r\r\n") == 0
    assert again.returncode == 73
    assert "dead.csv is there already" in again.stderr
    assert bouncefiler(home, *arguments, "--force").returncode == 0


def test_export_wants_to_know_what(home: Path) -> None:
    done = bouncefiler(home, "export")

    assert done.returncode == 2
    assert "--dead" in done.stderr


def test_report_writes_one_page_for_all_accounts_that_only_the_owner_may_read(home: Path) -> None:
    tales.quiet_year(state(home), now())
    tales.flood(state(home, "work"), now(), size=50)

    done = bouncefiler(home, "report")

    written = home / "bouncefiler-report.html"
    assert (done.returncode, done.stderr) == (0, "")
    assert str(written) in done.stdout
    text = written.read_text(encoding="utf-8")
    assert text.count("<article") == 2
    assert "ana@office.example" in text
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_report_replaces_a_report_and_nothing_else(home: Path) -> None:
    diary = home / "diary.html"
    diary.write_text("<title>Diary</title>", encoding="utf-8")

    assert bouncefiler(home, "report").returncode == 0
    assert bouncefiler(home, "report", "-a", "home").returncode == 0
    refused = bouncefiler(home, "report", "--output", "diary.html")

    assert refused.returncode == 73
    assert "diary.html is there already" in refused.stderr
    assert diary.read_text(encoding="utf-8") == "<title>Diary</title>"
    assert bouncefiler(home, "report", "--output", "diary.html", "--force").returncode == 0


def test_report_is_printed_on_demand_as_far_back_as_wanted(home: Path) -> None:
    tales.quiet_year(state(home), now())

    done = bouncefiler(home, "report", "-a", "home", "--days", "400", "--output", "-", LANG="pt_BR.UTF-8")

    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith("</html>")
    assert "Em 400 dias, 24 devoluções ao todo" in done.stdout
    assert "Cada barra é uma semana." in done.stdout
    assert not list(home.glob("*.html"))


def test_report_tells_of_the_other_accounts_when_one_cannot_be_read(home: Path) -> None:
    state(home).write_bytes(b"no database" * 100)
    tales.quiet_year(state(home, "work"), now())

    done = bouncefiler(home, "report")

    assert done.returncode == 74
    assert "home.sqlite3" in done.stderr
    assert "ana@office.example" in (home / "bouncefiler-report.html").read_text(encoding="utf-8")
    assert "bouncefiler-report.html" in done.stdout
