"""Mail and servers made to hurt cost little, and nothing of theirs gets raw to a terminal or into JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from bouncefiler.errors import AccountError, Unreachable
from tests.recognition.hostile import CONTROLS, HOSTILE
from tests.scripted import SELECTED, Answer, Part, playing

pytestmark = pytest.mark.skipif(
    shutil.which("prlimit") is None, reason="prlimit (Linux) sets the limits, and is missing"
)

CPU_SECONDS = 10
"""The kernel ends whoever takes longer: five times what mail may cost, as machines differ and starting costs too."""
MAX_MEMORY = 256 * 1024
"""Kilobytes of resident memory, all in all."""


def measured(*arguments: str) -> tuple[int, str, int]:
    """Run the program under limits; return its exit status, all that it said, and its largest resident size."""
    command = ["prlimit", f"--cpu={CPU_SECONDS}", sys.executable, "-m", "bouncefiler", *arguments]
    environ = {**os.environ, "LANG": "C.UTF-8", "TEST_PASSWORD": "correct horse"}
    done = subprocess.run([sys.executable, "-I", "-c", _WEIGH, *command], env=environ, capture_output=True, check=True)
    status, memory = done.stderr.split()[-2:]
    return int(status), done.stdout.decode(), int(memory)


# A child begins with its parent's peak, and that of the tests is large: so a small one stands in between.
_WEIGH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def raw_characters(text: str) -> set[str]:
    """Return what in the text is not for printing: control and format characters, unpaired surrogates."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c != "\n"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_costs_little_and_stays_plain(name: str, tmp_path: Path) -> None:
    """Within limits of time and memory; what is shown of it is printable."""
    mail = tmp_path / "mail.eml"
    mail.write_bytes(HOSTILE[name]())

    status, said, memory = measured("explain", str(mail))

    assert status == 0, said
    assert raw_characters(said) == set()
    assert memory < MAX_MEMORY


def test_hostile_mail_stays_plain_in_json(tmp_path: Path) -> None:
    """All of it, but for what is only large."""
    for number, make in enumerate(HOSTILE.values()):
        if len(raw := make()) < 1_000_000:
            (tmp_path / f"{number}.eml").write_bytes(raw)

    status, data, _ = measured("explain", "--json", *map(str, sorted(tmp_path.glob("*.eml"))))

    assert status == 0, data
    assert data.isascii()
    assert len([json.loads(line) for line in data.splitlines()]) == len(list(tmp_path.iterdir())) > 8


def test_the_limits_can_be_exceeded(tmp_path: Path) -> None:
    """The measure works: whoever takes more is seen."""
    greedy = ["prlimit", "--cpu=1", sys.executable, "-c", "while True: pass"]
    assert subprocess.run(greedy, check=False, timeout=60).returncode != 0
    assert raw_characters("a\x1b[0mb\u202e") == {"\x1b", "\u202e"}


def _endless(line: bytes, octets: int = 16_000_000) -> bytes:
    """Repeat it far beyond what an answer that is kept may have."""
    return line * (octets // len(line))


SERVERS: dict[str, dict[str, Answer]] = {
    "a literal of 16 GiB": {"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {17179869184}\r\nx"},
    "a literal of 16 GiB at login": {"NAMESPACE|LIST": b"* LIST () {17179869184}\r\nx"},
    "untagged lines without end": {"UID FETCH": lambda _: _endless(b"* 1 EXISTS\r\n", 4_000_000)},
    "untagged lines without end at login": {"NAMESPACE|LIST": lambda _: _endless(b"* OK still here\r\n")},
    "a line without end": {"UID FETCH": lambda _: _endless(b"x")},
    "capabilities without end": {"CAPABILITY": lambda _: b"* CAPABILITY" + _endless(b" X") + b"\r\nTAG OK done"},
    "nested lists": {"UID FETCH": lambda _: b"* 1 FETCH " + b"(" * 500_000 + b")" * 500_000 + b"\r\nTAG OK done"},
    "UIDs that nobody asked for": {
        "UID FETCH": "".join(f"* {n} FETCH (UID {n})\r\n" for n in range(9, 99)) + "TAG OK x"
    },
    "a COPYUID without end": {"UID MOVE": lambda _: b"TAG OK [COPYUID 9 1:4294967295 1:4294967295] done"},
    "a folder of four thousand million messages": {
        "(SELECT|EXAMINE)": SELECTED.replace("* 3 EXISTS", "* 4294967295 EXISTS").replace(
            "UIDNEXT 4", "UIDNEXT 4294967295"
        )
    },
    "control characters in its refusals": {"(SELECT|EXAMINE)": f"TAG NO [ALERT] {CONTROLS.replace(chr(0x2028), '')}"},
}
"""By name, what each server says where an honest one would answer."""


@pytest.mark.parametrize("name", SERVERS)
def test_a_hostile_server_costs_little_and_breaks_nothing(name: str, tmp_path: Path) -> None:
    """No crash, no growth, no end of waiting; what it says is shown plain, if at all."""
    with playing(Part(SERVERS[name])) as scripted:
        (tmp_path / "config.toml").write_text(
            f'state_dir = "{tmp_path}"\n[accounts.home]\nhost = "127.0.0.1"\nport = {scripted.port}\nuser = "ann"\n'
            'security = "plain"\ntimeout = "2s"\npassword_from = { environment = "TEST_PASSWORD" }\n'
        )
        status, said, memory = measured("--config", str(tmp_path / "config.toml"), "clean")

    assert status in {0, Unreachable.exit_code, AccountError.exit_code}, said
    assert "Traceback" not in said
    assert raw_characters(said) == set()
    assert memory < MAX_MEMORY
