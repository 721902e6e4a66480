"""Compare the README's blocks with what the program prints now, or with --write put that in their place.

The blocks are those between `<!-- NAME -->` and `<!-- /NAME -->`: the text of `--help`, and a preview of the demo's
mailbox, shortened, on a terminal of 100 columns.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path

from demo import account

README = Path(__file__).parent.parent / "README.md"

A_BAD_DAY = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
"""When the picture was taken."""

COLUMNS = "100"

ENOUGH = 8
"""A longer stretch of lines is shown by its first ones and a mark."""


def main() -> None:
    """Write the README anew, or exit with 1 and the difference when it isn't what it should be."""
    before = README.read_text(encoding="utf-8")
    after = renewed(before)
    if "--write" in sys.argv[1:]:
        README.write_text(after, encoding="utf-8")
    elif after != before:
        difference = unified_diff(before.splitlines(), after.splitlines(), "README.md", "the program", lineterm="", n=0)
        sys.exit("\n".join((*difference, "", "`make readme` puts this right.")))


def renewed(readme: str) -> str:
    """Return the README with all blocks as the program prints them now."""
    for name, command, output in blocks():
        readme = _with_block(readme, name, f"```console\n$ {command}\n{output.rstrip()}\n```")
    return readme


def _with_block(readme: str, name: str, block: str) -> str:
    before, start, rest = readme.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (start and end):
        sys.exit(f"README.md has no block {name!r}")
    return f"{before}{start}{block}\n{end}{after}"


def blocks() -> Iterator[tuple[str, str, str]]:
    """Run the commands: name of the block, command, what it prints."""
    with account.opened(A_BAD_DAY) as ana:
        for name, command in (("help", "bouncefiler --help"), ("preview", "bouncefiler preview")):
            output = on_a_terminal(command.split(), ana.environ)
            yield name, command, shortened(output) if name == "preview" else output


def shortened(output: str) -> str:
    """Cut each stretch between blank lines that is longer than a reader needs."""
    stretches = [stretch.splitlines() for stretch in output.strip().split("\n\n")]
    return "\n\n".join("\n".join([*lines[:ENOUGH], *["  ⋮"][: len(lines) > ENOUGH]]) for lines in stretches)


def on_a_terminal(command: list[str], environ: dict[str, str]) -> str:
    """Return what the command prints when somebody looks."""
    terminal, ours = pty.openpty()
    plain = {"COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "xterm", "TZ": "UTC", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
    process = subprocess.Popen(
        command, env=environ | plain, stdin=subprocess.DEVNULL, stdout=ours, stderr=subprocess.PIPE
    )
    os.close(ours)
    chunks = []
    try:
        while chunk := os.read(terminal, 65_536):
            chunks.append(chunk)
    except OSError:  # EIO: Linux's way of saying that nobody holds the other end any more
        pass
    os.close(terminal)
    _, complaints = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {complaints.decode()}")
    return b"".join(chunks).decode().replace("\r\n", "\n")


if __name__ == "__main__":
    main()
