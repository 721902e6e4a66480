"""Who takes part, and how each is told to do the same: put the bounces of INBOX into the folder Bounces.

The others get the rules that their manuals lead one to: who sends bounces, what is said in their subjects, and for
those that look at all headers the content type. None of them reads a body, so they cannot do what bouncefiler does;
what they move wrongly, or leave, is counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "Bounces"
HERE = Path(__file__).parent
ROOT = HERE.parent

IMAPAUTOFILER = "imapautofiler==1.14"

_SENDERS = ("mailer-daemon", "postmaster")
_SUBJECTS = (
    "Undelivered Mail Returned to Sender",
    "Undeliverable",
    "Delivery Status Notification",
    "Mail delivery failed",
    "failure notice",
    "Returned mail",
    "Delayed Mail",
    "Warning: could not send message",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant is to work, and a directory of its own, made anew for each run."""

    host: str
    port: int
    user: str
    password: str
    directory: Path
    oracle: Path


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program; `command` writes what configuration it needs and returns what to execute."""

    name: str
    command: Callable[[Place], Sequence[str]]
    slow: bool = False
    """Takes a turn for each message: is run once only where there are many messages or the line is slow."""


def environ() -> dict[str, str]:
    """Return the environment of who takes part: ours, without what changes how Python starts or keeps bytecode."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def compile_ours() -> None:
    """Have our package's bytecode made where Python looks for it, as pip does for whoever installs the package.

    What else is needed pip has compiled. Raises CalledProcessError when the directory cannot be written to.
    """
    compiling = [sys.executable, "-m", "compileall", "-q", str(ROOT / "bouncefiler")]
    subprocess.run(compiling, check=True, env=environ())


def bouncefiler(python: str = sys.executable, *, compress: bool = False) -> Contestant:
    """Return this program, as a user starts it; by itself it compresses nothing that comes from this very machine."""

    def command(place: Place) -> Sequence[str]:
        config = place.directory / "config.toml"
        config.write_text(
            f'state_dir = "{place.directory}/state"\n[accounts.bench]\nhost = "{place.host}"\nport = {place.port}\n'
            f'user = "{place.user}"\nsecurity = "plain"\nbounce_folder = "{FOLDER}"\n'
            'password_from = { environment = "BENCH_PASSWORD" }\n'
            f'compress = "{"always" if compress else "auto"}"\n'
        )
        config.chmod(0o600)
        return [python, "-m", "bouncefiler", "--config", str(config), "clean"]

    return Contestant("bouncefiler, compressed" if compress else "bouncefiler", command)


def floor(*, compress: bool = False) -> Contestant:
    """Return the program that is told everything."""

    def command(place: Place) -> Sequence[str]:
        program = [sys.executable, "-I", "-S", str(HERE / "floor.py")]
        more = ["compress"] if compress else []
        return [*program, place.host, str(place.port), place.user, place.password, FOLDER, str(place.oracle), *more]

    return Contestant("floor, compressed" if compress else "floor", command)


def imapfilter(program: str) -> Contestant:
    """Return imapfilter with searches that the server answers."""

    def command(place: Place) -> Sequence[str]:
        config = place.directory / "config.lua"
        searches = [f"a.INBOX:contain_from('{text}')" for text in _SENDERS]
        searches += [f"a.INBOX:contain_subject('{text}')" for text in _SUBJECTS]
        config.write_text(
            "options.starttls = false\noptions.create = true\noptions.subscribe = true\n"
            f"a = IMAP {{ server = '{place.host}', port = {place.port},\n"
            f"  username = '{place.user}', password = '{place.password}' }}\n"
            f"found = {' + '.join(searches)}\nfound:move_messages(a['{FOLDER}'])\n"
        )
        return [program, "-c", str(config)]

    return Contestant("imapfilter", command)


def imapautofiler(program: Path) -> Contestant:
    """Return imapautofiler with one rule for the sender, the subject or the content type."""

    def command(place: Place) -> Sequence[str]:
        config = place.directory / "config.yml"
        rules = "".join(
            f'            - headers: [{{name: "{name}", regex: "(?i){pattern}"}}]\n'
            for name, pattern in (
                ("from", "|".join(_SENDERS)),
                ("subject", "^(" + "|".join(_SUBJECTS) + ")"),
                ("content-type", "report-type=.?delivery-status"),
            )
        )
        config.write_text(
            f'server:\n  hostname: "{place.host}"\n  port: {place.port}\n  username: "{place.user}"\n'
            f'  password: "{place.password}"\n  ssl: false\nmailboxes:\n  - name: INBOX\n    rules:\n      - or:\n'
            f'          rules:\n{rules}        action: {{name: move, dest-mailbox: "{FOLDER}"}}\n'
        )
        return [str(program), "-c", str(config)]

    return Contestant("imapautofiler", command, slow=True)


def find_imapfilter() -> Contestant | str:
    """Return imapfilter, or why it does not take part."""
    program = shutil.which("imapfilter")
    return imapfilter(program) if program else "imapfilter is not installed (Debian: apt install imapfilter)"


def find_imapautofiler(venv: Path) -> Contestant | str:
    """Return imapautofiler out of this environment, made first when it is missing, or why it does not take part."""
    program = venv / "bin" / "imapautofiler"
    if program.exists():
        return imapautofiler(program)
    python = next(_pythons(), None)
    if python is None:
        return "imapautofiler needs Python 3.13 or later, and there is none (looked in PATH and ~/.pyenv)"
    install = [str(venv / "bin" / "pip"), "--disable-pip-version-check", "install", "-q", IMAPAUTOFILER]
    for command in ([python, "-m", "venv", str(venv)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(venv, ignore_errors=True)
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return f"imapautofiler could not be installed from PyPI: {said}"
    return imapautofiler(program)


def _pythons() -> Iterator[str]:
    """Yield interpreters of 3.13 or later."""
    found = [shutil.which(f"python3.{minor}") for minor in (13, 14)]
    pyenv = Path.home() / ".pyenv" / "versions"
    kept = [str(path) for minor in (13, 14) for path in sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
    for python in (*filter(None, found), *kept):
        test = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 13))"
        if not subprocess.run([python, "-c", test], capture_output=True, check=False).returncode:
            yield python
