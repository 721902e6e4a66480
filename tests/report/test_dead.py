"""The list of dead addresses does no harm to whoever opens it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.recognition.verdict import Cause
from bouncefiler.report.chronicle import DeadAddress
from bouncefiler.report.dead import HEADS, as_csv, as_json
from tests.report.tales import DAY, NOON

CLARA = DeadAddress("clara@example.net", Cause.USER_UNKNOWN, NOON - DAY, NOON, 3, Provenance.GENUINE)


def dead(address: str) -> DeadAddress:
    return DeadAddress(address, Cause.MOVED, NOON, NOON, 1, Provenance.UNKNOWN)


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_the_table_says_which_address_why_since_when_and_how_often() -> None:
    first, second = rows(as_csv([("home", CLARA)]))

    assert tuple(first) == HEADS
    assert second == ["home", "clara@example.net", "user-unknown", "2026-02-28", "2026-03-01", "3", "yes"]


@pytest.mark.parametrize(
    "address",
    [
        '=cmd|" /C calc"!A0@example.org',
        "+1@example.org",
        "-2+3@example.org",
        "@sum(1+1)@example.org",
        "\t=1@example.org",
        "\r=1@example.org",
        "\n =1@example.org",
        "\u202e\u200b=1@example.org",
        "＝1@example.org",
        "－1@example.org",
    ],
)
def test_no_cell_is_a_formula(address: str) -> None:
    text = as_csv([("=home", dead(address))])

    account, cell, *_ = rows(text)[1]
    assert account == "'=home"
    assert cell[0] == "'"
    assert not set("\t\u202e\u200b") & set(text)
    assert len(text.splitlines()) == 2


def test_commas_quotes_and_lines_stay_in_their_cell() -> None:
    cells = rows(as_csv([("home", dead('"a,\r\nb"@example.org'))]))[1]

    assert cells[1] == '"a, b"@example.org'
    assert len(cells) == len(HEADS)


def test_the_json_is_one_array_of_ascii() -> None:
    text = as_json([("home", CLARA), ("home", dead("jos\u00e9\x1b\ud800@example.org"))])

    assert text.isascii()
    assert "\x1b" not in text
    one, other = json.loads(text)
    assert one["sent_by_you"] is True
    assert other["address"] == "jos\u00e9\x1b?@example.org"
    assert other["sent_by_you"] is None


def test_nothing_is_an_empty_list() -> None:
    assert json.loads(as_json([])) == []
    assert rows(as_csv([])) == [list(HEADS)]
