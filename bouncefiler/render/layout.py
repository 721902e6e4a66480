"""Documents, and how they are laid out for a terminal or a pipe. rich is known here."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO, assert_never

from bouncefiler.render.harmless import cells, clean_text, cut

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod


class Tone(StrEnum):
    """How a paragraph is meant; the value is its style on a terminal."""

    PLAIN = ""
    TITLE = "bold"
    FAINT = "dim"
    GOOD = "green"
    WARNING = "bold yellow"
    ALARM = "bold red"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some clean text."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: no wider than `most` cells, and in need narrowed down to `least`."""

    title: str
    most: int = 60
    least: int = 8
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of clean cells, under a title that says what they are."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    tone: Tone = Tone.TITLE


Block = Paragraph | Table


Document = tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What the text is laid out for. `width` None is a pipe: as wide as need be."""

    width: int | None = None
    colour: bool = False
    encoding: str = "utf-8"
    dumb: bool = False
    """Whether the terminal has no way back to what it shows already."""

    @property
    def terminal(self) -> bool:
        """Whether somebody is looking."""
        return self.width is not None

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Look:
        """Look at the stream: is it a terminal, how wide, does it want colour (no-color.org)?"""
        encoding = stream.encoding or "utf-8"
        if not stream.isatty():
            return cls(encoding=encoding)
        dumb = environ.get("TERM", "dumb") == "dumb"
        colour = not environ.get("NO_COLOR") and not dumb
        return cls(max(40, shutil.get_terminal_size().columns), colour, encoding, dumb)


def lay_out(document: Document, look: Look) -> str:
    """Make one string of the document, ending in a line break; characters that the encoding lacks become "?"."""
    text = _for_terminal(document, look) if look.width is not None else _for_pipe(document)
    return text.encode(look.encoding, "replace").decode(look.encoding)


def _for_pipe(document: Document) -> str:
    return "\n\n".join(_plain(block) for block in document) + "\n"


def _plain(block: Block) -> str:
    match block:
        case Paragraph(text=text):
            return text
        case Table(title=title, columns=columns):
            heads = tuple(column.title for column in columns)
            rows = (heads, *block.rows) if any(heads) else block.rows
            widths = _widths(block, None)
            return "\n".join((title, *(_plain_row(columns, row, widths) for row in rows)))
        case _:
            assert_never(block)


def _plain_row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = cut(cell, width)
        blank = " " * (width - cells(text))
        parts.append(blank + text if column.right else text + blank)
    return "  ".join(parts).rstrip()


def _widths(table: Table, room: int | None) -> list[int]:
    """Give each column what its cells need, then take from the widest until the table fits."""
    by_column = zip(*table.rows, strict=True) if table.rows else ((),) * len(table.columns)
    widths = [
        min(max(column.most, cells(column.title)), max(map(cells, (column.title, *column_cells))))
        for column, column_cells in zip(table.columns, by_column, strict=True)
    ]
    while room is not None and _breadth(widths) > room:
        spare = [width - column.least for width, column in zip(widths, table.columns, strict=True)]
        if max(spare) <= 0:
            break
        widest = max(range(len(widths)), key=lambda i: (spare[i] > 0, widths[i]))
        widths[widest] -= 1
    return widths


def _breadth(widths: Sequence[int]) -> int:
    """Add up the columns and the blanks between them."""
    return sum(widths) + 2 * (len(widths) - 1)


def _for_terminal(document: Document, look: Look) -> str:
    from rich.console import Console  # noqa: PLC0415 - 60 ms, and only for those who look

    out = io.StringIO()
    console = Console(
        file=out,
        width=look.width,
        force_terminal=True,
        color_system="standard" if look.colour else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for index, block in enumerate(document):
        if index:
            console.print()
        _print(console, block)
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE)  # rich fills lines up with blanks


def _print(console: Console, block: Block) -> None:
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if isinstance(block, Paragraph):
        console.print(Text(block.text, style=block.tone.value))
        return
    console.print(Text(block.title, style=block.tone.value))
    heads = any(column.title for column in block.columns)
    widths = _widths(block, console.width)
    if heads and _breadth(widths) > console.width:
        _print_one_below_the_other(console, block)
        return
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=heads, header_style="dim")
    for column, width in zip(block.columns, widths, strict=True):
        # Without titles a row is a fact and what it is: nothing of that is cut off.
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, width=width, no_wrap=heads, overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(cut(cell, width) if heads else cell) for cell, width in zip(row, widths, strict=True)))
    console.print(table)


def _print_one_below_the_other(console: Console, table: Table) -> None:
    """Print a table for which the terminal is too narrow: each cell in a line of its own, behind its column's title."""
    from rich.text import Text  # noqa: PLC0415

    for number, row in enumerate(table.rows):
        if number:
            console.print()
        for column, cell in zip(table.columns, row, strict=True):
            console.print(Text.assemble((f"{column.title}: ", "dim"), cell))


@contextmanager
def progress(stream: TextIO, look: Look) -> Iterator[Callable[[float, str], None]]:
    """Keep a progress bar on `stream`, gone at the end; without a terminal, or on a dumb one, nothing appears.

    Gives the function that moves it: how much is done, 0 to 1, and what to say beside it.
    """
    if not look.terminal or look.dumb:
        yield lambda _done, _text: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(file=stream, width=look.width, force_terminal=True, no_color=not look.colour)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda done, text: bar.update(task, completed=done, description=clean_text(text, 60))
