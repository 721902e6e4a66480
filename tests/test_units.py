"""The units in `systemd/`, by systemd's own judgement and against what the program does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from bouncefiler.errors import (
    BouncefilerError,
    ConfigError,
    CredentialError,
    LoginRefused,
    OverQuota,
    StoreBroken,
    StoreBusy,
    Throttled,
    Unreachable,
    Untrusted,
)
from bouncefiler.service import Limits

UNITS = Path(__file__).parent.parent / "systemd"
USER = UNITS / "user" / "bouncefiler.service"
SYSTEM = UNITS / "system" / "bouncefiler@.service"
BOTH = pytest.mark.parametrize("unit", [USER, SYSTEM], ids=lambda unit: unit.name)

HIGHEST_EXPOSURE = 13  # tenths

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: units not verified"
)


def analyze(*arguments: str, runtime: Path) -> subprocess.CompletedProcess[str]:
    runtime.mkdir(exist_ok=True)
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        ["systemd-analyze", *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def with_program(unit: Path, folder: Path) -> Path:
    """Copy the unit with a program in it that exists here: `verify` asks for that, and ours is not installed there."""
    copy = folder / unit.name
    text, replaced = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(encoding="utf-8"))
    assert replaced == 1
    copy.write_text(text, encoding="utf-8")
    return copy


def setting(unit: Path, name: str) -> str:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser["Unit" if name.startswith("Start") else "Service"][name]


def verify(unit: Path, folder: Path, *arguments: str) -> str:
    """Return all that systemd has to say against the unit."""
    copy = with_program(unit, folder)
    result = analyze("verify", *arguments, str(copy), runtime=folder / "run")
    return f"{result.stdout}{result.stderr}" + (f"exit status {result.returncode}" if result.returncode else "")


@needs_systemd
@pytest.mark.parametrize(("unit", "arguments"), [(USER, ["--user"]), (SYSTEM, [])], ids=["user", "system"])
def test_systemd_has_nothing_to_say_against_the_unit(unit: Path, arguments: list[str], tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent. It exits with 0 for an unknown key, so its messages count."""
    assert verify(unit, tmp_path, *arguments) == ""


@needs_systemd
@BOTH
def test_misspelt_key_would_be_noticed(unit: Path, tmp_path: Path) -> None:
    """The test above can fail."""
    wrong = tmp_path / "wrong" / unit.name
    wrong.parent.mkdir()
    wrong.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=", "WatchdogSecs="), encoding="utf-8")

    assert "WatchdogSecs" in verify(wrong, tmp_path, *(["--user"] if unit == USER else []))


@needs_systemd
def test_system_unit_exposes_next_to_nothing(tmp_path: Path) -> None:
    """`systemd-analyze security` gives the system unit an exposure of 1.3 or less."""
    unit = str(with_program(SYSTEM, tmp_path))

    result = analyze(
        "security", "--no-pager", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", unit, runtime=tmp_path / "run"
    )

    assert result.returncode == 0, result.stdout
    assert result.stderr == ""


@needs_systemd
def test_too_open_a_unit_would_be_noticed(tmp_path: Path) -> None:
    """The threshold is obeyed: the user unit, which lets the keyring in, is above it."""
    unit = str(with_program(USER, tmp_path))

    result = analyze(
        "security", "--no-pager", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", unit, runtime=tmp_path / "run"
    )

    assert result.returncode != 0


@BOTH
@pytest.mark.parametrize("error", [ConfigError, CredentialError, LoginRefused, Untrusted])
def test_what_needs_a_person_is_not_started_again(unit: Path, error: type[BouncefilerError]) -> None:
    """The exit codes for which a restart is useless or harmful are those that systemd is told."""
    assert str(error.exit_code) in setting(unit, "RestartPreventExitStatus").split()


@BOTH
@pytest.mark.parametrize("error", [Unreachable, Throttled, OverQuota, StoreBusy, StoreBroken, BouncefilerError])
def test_what_passes_by_itself_is_started_again(unit: Path, error: type[BouncefilerError]) -> None:
    """Everything else is tried again."""
    assert setting(unit, "Restart") == "on-failure"
    assert str(error.exit_code) not in setting(unit, "RestartPreventExitStatus").split()


@BOTH
def test_systemd_waits_longer_than_the_service(unit: Path) -> None:
    """A service that finishes its batch in time is not killed over it."""
    assert int(setting(unit, "TimeoutStopSec").removesuffix("s")) > Limits().grace


@BOTH
def test_program_is_found_where_the_unit_looks_for_it(unit: Path) -> None:
    """The user unit starts what pipx installs, the system unit what a package installs; both run the service."""
    program, *_, command = setting(unit, "ExecStart").split()

    assert program == {USER: "%h/.local/bin/bouncefiler", SYSTEM: "/usr/bin/bouncefiler"}[unit]
    assert command == "run"


def test_documentation_makes_the_credential_that_the_unit_loads() -> None:
    """Who follows docs/service.md has the file and the name that the system unit asks for."""
    text = (UNITS.parent / "docs" / "service.md").read_text(encoding="utf-8")
    name, file = setting(SYSTEM, "LoadCredentialEncrypted").split(":")
    file = file.replace("%i", "home")

    assert f"systemd-creds encrypt --name={name} - {file}" in text
    assert f'password_from = {{ systemd = "{name}" }}' in text
    assert f"StateDirectory={setting(SYSTEM, 'StateDirectory').replace('%i', 'home')}" in text
