"""Mail made to hurt costs little, and nothing of it gets raw to a terminal or into JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from bouncefiler.recognition.identity import MAX_HEADER_OCTETS
from tests.recognition.hostile import HOSTILE

CPU_SECONDS = 10
"""The kernel ends whoever takes longer: five times what mail may cost, as machines differ and starting costs too."""
MAX_MEMORY = 256 * 1024
"""Kilobytes of resident memory, all in all."""


def explained(mail: Path, *options: str) -> tuple[str, int]:
    """Run `bouncefiler explain` on the mail under limits; return what it printed and its largest resident size."""
    command = ["prlimit", f"--cpu={CPU_SECONDS}", sys.executable, "-m", "bouncefiler", "explain", *options, str(mail)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "LANG": "C.UTF-8"}
    ) as process:
        assert process.stdout
        assert process.stderr
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, err[-500:]
    assert err == b""
    return out.decode(), usage.ru_maxrss


def raw_characters(text: str) -> set[str]:
    """Return what in the text is not for printing: control and format characters, unpaired surrogates."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c != "\n"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_costs_little_and_stays_plain(name: str, tmp_path: Path) -> None:
    """Within limits of time and memory; what is shown of it is printable."""
    mail = tmp_path / "mail.eml"
    mail.write_bytes(HOSTILE[name]())

    said, memory = explained(mail)
    data, memory_for_json = explained(mail, "--json")

    assert raw_characters(said) == set()
    assert data.isascii()
    assert json.loads(data)
    assert max(memory, memory_for_json) < MAX_MEMORY


def test_the_limits_can_be_exceeded(tmp_path: Path) -> None:
    """The measure works: whoever takes more is seen."""
    greedy = ["prlimit", "--cpu=1", sys.executable, "-c", "while True: pass"]
    assert subprocess.run(greedy, check=False, timeout=60).returncode != 0
    assert raw_characters("a\x1b[0mb\u202e") == {"\x1b", "\u202e"}
    assert MAX_HEADER_OCTETS < 50_000_000
