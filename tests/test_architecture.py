"""The house's rules about imports, read from the source: imports point down, and each dependency has one door."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bouncefiler

PACKAGE = Path(bouncefiler.__file__).parent

FLOORS = [  # top to bottom; a room may import from the floors below it, and from itself
    {"__main__"},
    {"cli"},
    {"app", "shift"},
    {"desk"},
    {"lookout", "parts"},
    {"service"},
    {"doorbell"},
    {"edge"},
    {"sweep", "inquiry", "restore", "sent", "config", "render", "report", "settings"},
    {"filing", "backscatter"},
    {"recognition"},
    {"errors"},
    {"__init__"},
]

INSIDE = {  # the same for the modules of a folder; those of one floor don't know each other
    "cli": [
        {"__init__"},
        {"alerts", "answers", "filing", "past", "reports", "setup"},
        {"accounts"},
        {"options", "terminal"},
        {"late"},
    ],
    "edge.imap": [
        {"__init__"},
        {"mover"},
        {"sent"},
        {"reader"},
        {"idle", "login", "replies", "special"},
        {"pipe", "trouble"},
        {"scan"},
        {"commands"},
        {"fetched"},
        {"wire"},
        {"bearer", "names", "tls"},
    ],
    "service": [
        {"__init__"},
        {"process"},
        {"loop"},
        {"timetable"},
        {"account"},
        {"job", "retry", "trouble"},
        {"clock"},
    ],
}

BESIDE = {  # the few imports that stay on their floor
    ("config", "settings"),
    ("render", "settings"),
    ("render", "sweep"),
    ("report", "render"),
    ("restore", "sweep"),
    ("sent", "sweep"),
}

DOORS = {  # each package from outside → the one module, or folder of modules, that knows it
    "apprise": "edge.notify",
    "apscheduler": "service.timetable",
    "click": "cli",
    "dkim": "edge.dkim",
    "dns": "edge.dns",
    "imapclient": "edge.imap",
    "jinja2": "report.page",
    "keyring": "edge.credentials",
    "pydantic": "config",
    "re2": "config",
    "requests": "edge.notify",
    "rich": "render.layout",
    "sqlite3": "edge.store",
}

OUTSIDE = {
    "asyncio",
    "imaplib",
    "logging",
    "os",
    "random",
    "smtplib",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
}

CLOSED = {  # room → what its floor would allow, and it still must not know
    "service": {"edge", "sweep", "filing", "backscatter", "recognition"},
    "restore": OUTSIDE,
    "sweep": OUTSIDE,
    "inquiry": OUTSIDE,
    "report": OUTSIDE,
    "sent": OUTSIDE,
    "filing": OUTSIDE,
    "backscatter": OUTSIDE,
    "recognition": OUTSIDE,
}

CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}

HAVE_A_CLOCK = {"cli", "parts", "service"}


class Module(NamedTuple):
    """A module of ours, named without the package's own name."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


def modules(package: Path) -> Iterator[Module]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield Module(name, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def imports(module: Module) -> Iterator[str]:
    """Yield what is imported, with its full dotted name; ours begin with "bouncefiler"."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (start + alias.name for alias in node.names)


def ours(imported: str, known: set[str]) -> str | None:
    """Return which module of ours is meant, None when it is somebody else's."""
    package, _, name = imported.partition(".")
    if package != "bouncefiler":
        return None
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "__init__"


def floor(room: str) -> int:
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), -1)


def storey(name: str, folder: str) -> int | None:
    """Return the module's floor in the folder, -1 when it has none; None when it is not in there."""
    if name != folder and not name.startswith(f"{folder}."):
        return None
    name = name.removeprefix(folder).removeprefix(".") or "__init__"
    return next((i for i, names in enumerate(INSIDE[folder]) if name in names), -1)


def door(name: str) -> str:
    """Return which door a module of the edge belongs to: itself, or the folder that it is in."""
    return ".".join(name.split(".")[:2])


def goes_down(importer: str, imported: str) -> bool:
    for folder in INSIDE:
        above, below = storey(importer, folder), storey(imported, folder)
        if above is not None and below is not None:
            return above < below
    room, other = importer.partition(".")[0], imported.partition(".")[0]
    if room == other == "edge":  # no door knows another one, so that each can be replaced alone
        return imported == "edge" or door(importer) == door(imported)
    return room == other or (room, other) in BESIDE or floor(room) < floor(other)


def import_faults(module: Module, imported: str, known: set[str]) -> Iterator[str]:
    if imported.startswith("."):
        yield f"{module.name} imports {imported}: say bouncefiler.… instead of dots"
        return
    other = ours(imported, known)
    package = imported.partition(".")[0]
    if other and not goes_down(module.name, other):
        yield f"{module.name} imports {other}, which is not below it"
    if (other or package).partition(".")[0] in CLOSED.get(module.room, ()):
        yield f"{module.name} imports {other or package}, which {module.room} must not know"
    if not other and DOORS.get(package, module.name) not in {module.name, door(module.name), module.room}:
        yield f"{module.name} imports {package}, whose door is {DOORS[package]}"
    if not other and package not in DOORS and package not in sys.stdlib_module_names:
        yield f"{module.name} imports {package}, which has no door yet"


def word_faults(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit" | "SystemExit" as word)) if module.room != "cli":
                yield f"{module.name}:{node.lineno} calls {word}(): only cli prints and exits"
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit") if module.room not in {"cli", "__main__"}:
                yield f"{module.name}:{node.lineno} calls sys.exit(): only cli prints and exits"
            case ast.Attribute(value=ast.Name(id=owner), attr=word) if (owner, word) in CLOCKS:
                if module.room not in HAVE_A_CLOCK:
                    yield f"{module.name}:{node.lineno} reads {owner}.{word}: time is an argument there"
            case ast.arg(arg="dry_run") | ast.keyword(arg="dry_run"):
                yield f"{module.name}:{node.lineno} has a dry_run: preview is made of what cannot move mail instead"
            case _:
                pass


def faults(package: Path) -> list[str]:
    house = list(modules(package))
    known = {module.name for module in house}
    found = [f"{module.name} is on no floor" for module in house if floor(module.room) < 0]
    found += [
        f"{each.name} is on no floor of {folder}"
        for each in house
        for folder in INSIDE
        if storey(each.name, folder) == -1
    ]
    for module in house:
        found += [fault for imported in imports(module) for fault in import_faults(module, imported, known)]
        found += word_faults(module)
    return found


def test_the_house_stands() -> None:
    """Imports point down, each dependency has one door, only cli prints, and nothing below app knows the time."""

    assert faults(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "code", "fault"),
    [
        ("filing/plan", "from bouncefiler.sweep import pages", "filing.plan imports sweep, which is not below it"),
        ("filing/plan", "import bouncefiler.backscatter", "filing.plan imports backscatter, which is not below it"),
        ("recognition/a", "from bouncefiler import config", "recognition.a imports config, which is not below it"),
        ("recognition/a", "import os.path", "recognition.a imports os, which recognition must not know"),
        (
            "recognition/a",
            "def f():\n    import socket",
            "recognition.a imports socket, which recognition must not know",
        ),
        ("edge/imap", "from bouncefiler.edge.store import x", "edge.imap imports edge.store, which is not below it"),
        ("edge/imap", "from bouncefiler.edge import store", "edge.imap imports edge.store, which is not below it"),
        ("edge/imap", "import sqlite3", "edge.imap imports sqlite3, whose door is edge.store"),
        ("service", "from bouncefiler.sweep import pages", "service imports sweep, which service must not know"),
        ("sweep", "from imapclient import IMAPClient", "sweep imports imapclient, whose door is edge.imap"),
        ("render", "import httpx", "render imports httpx, which has no door yet"),
        ("render", "print('x')", "render:1 calls print(): only cli prints and exits"),
        ("app", "import sys\nsys.exit(1)", "app:2 calls sys.exit(): only cli prints and exits"),
        ("app", "raise SystemExit(1)", "app:1 calls SystemExit(): only cli prints and exits"),
        ("sweep", "now = datetime.now(UTC)", "sweep:1 reads datetime.now: time is an argument there"),
        ("app", "def clean(dry_run): ...", "app:1 has a dry_run: preview is made of what cannot move mail instead"),
        ("sweep", "from . import config", "sweep imports .config: say bouncefiler.… instead of dots"),
        ("utils", "", "utils is on no floor"),
        ("cli/utils", "", "cli.utils is on no floor of cli"),
        ("cli/late", "import bouncefiler.cli.terminal", "cli.late imports cli.terminal, which is not below it"),
        ("cli/past", "import bouncefiler.cli.filing", "cli.past imports cli.filing, which is not below it"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, module: str, code: str, fault: str) -> None:
    """Each rule can fail, and says who broke it with what."""

    others = "backscatter/__init__", "cli/filing", "cli/terminal", "config", "edge/__init__", "edge/store", "sweep"
    for name in (*others, module):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code if name == module else "", encoding="utf-8")
    assert faults(tmp_path) == [fault]
