"""README, CHANGELOG and the program say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

import bouncefiler
from bouncefiler import cli, errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def exit_codes(error: type[errors.BouncefilerError]) -> set[int]:
    return {error.exit_code}.union(*map(exit_codes, error.__subclasses__()))


def tracked() -> list[Path]:
    """Return the files of the repository; without git, all that are not in a hidden place."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for name in done.stdout.split("\0") if (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("[!.]*") if path.is_file() and "/." not in str(path.relative_to(ROOT.parent))]


def test_the_readme_shows_what_the_program_prints() -> None:
    """The README's --help, and its picture of a preview, are those of today's program on the demo's mailbox."""

    done = subprocess.run(
        [sys.executable, "-m", "scripts.readme"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_readmes_commands_exist() -> None:
    """Every `bouncefiler COMMAND` of the README can be typed, and every command is in it."""

    assert isinstance(cli.main, click.Group)
    code = "\n".join(re.findall(r"`{3}.*?`{3}|`[^`\n]+`", README, re.DOTALL))
    used = set(re.findall(r"\bbouncefiler +([a-z]+)", code))

    assert used == set(cli.main.commands)


def test_the_readmes_options_exist() -> None:
    """Every `--option` of the README, and of what the program printed into it, can be typed."""

    assert isinstance(cli.main, click.Group)
    commands = [command.load() for command in cli.main.commands.values() if isinstance(command, cli.Listed)]
    known = {name for command in (cli.main, *commands) for param in command.params for name in param.opts}

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known | {
        "--help",
        "--version",
        "--user",
    }  # systemctl --user


def test_the_readmes_make_targets_exist() -> None:
    """Every `make TARGET` of the README is a target of the Makefile."""

    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets


def test_the_exit_codes_are_documented() -> None:
    """The README's table has the exit codes of all errors, and --help none that the table lacks."""

    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    told = {int(code) for code in re.findall(r"^  (\d+) ", cli.EXIT_CODES, re.MULTILINE)}

    assert table == exit_codes(errors.BouncefilerError) | {0, 1, 2}
    assert told <= table
    assert exit_codes(errors.AccountError) <= told


def test_the_changelog_knows_the_version() -> None:
    """Whoever installs this version finds what is in it."""

    assert f"## [{bouncefiler.__version__}]" in CHANGELOG


def test_links_to_files_lead_somewhere() -> None:
    """A file that README, CHANGELOG or docs link to is there."""

    pages = [path for path in tracked() if path.suffix == ".md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!\w+:)([^)#]+)", page.read_text("utf-8"))]

    assert [(str(page), link) for page, link in links if not (page.parent / link).exists()] == []


def test_no_developers_machine_is_in_the_repository() -> None:
    """No file names a place that only one machine has."""

    someones = re.compile(rb"/(?:root|work|Users)/[A-Za-z.]|" + re.escape(str(ROOT).encode()))
    found = [str(path.relative_to(ROOT)) for path in tracked() if someones.search(path.read_bytes())]

    assert found == []
