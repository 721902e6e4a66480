"""The page tells all of it, loads nothing, runs nothing, and lets nothing of a mail through as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bouncefiler.report
from bouncefiler.backscatter.incident import Diagnosis, Notice
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Wave
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.report import chronicle
from bouncefiler.report.chronicle import Chronicle, DayTotal, DeadAddress, Filed, Told, Undelivered
from bouncefiler.report.page import MARK, page
from tests.report.tales import DAY, HOUR, NOON, QUIET, WAVE, total

ROOM = Path(bouncefiler.report.__file__).parent
TEMPLATE = (ROOM / "templates" / "report.html.j2").read_text(encoding="utf-8")
HOSTILE = (
    "</bdi></style><script>alert(1)</script><img src=//evil.example onerror=x>\x1b[2J\u202egpj\u200b{{7*7}}\x00'\""
)

FULL = replace(
    QUIET,
    daily=(
        total(20, 4, Cause.MAILBOX_FULL, Provenance.GENUINE),
        total(1, 300, Cause.USER_UNKNOWN, Provenance.FORGED),
        total(1, 40, Cause.CONTENT_REJECTED),
        DayTotal(NOON.date(), Kind.DELAYED, Cause.UNREACHABLE, Provenance.UNKNOWN, 2),
    ),
    incidents=(WAVE, replace(WAVE, id=2, diagnosis=Diagnosis.COMPROMISED, closed=NOON - 200 * DAY)),
    told=(Told(1, NOON - DAY, Notice.OPENED, Diagnosis.BACKSCATTER, 347, 400),),
    waves=(Wave(NOON - 350 * DAY, NOON - 340 * DAY, 512, (NOON - 345 * DAY).date(), 99),),
    filed=(Filed("Bounces", 344, NOON),),
    dead=(
        DeadAddress("clara@example.net", Cause.USER_UNKNOWN, NOON - DAY, NOON, 3, Provenance.GENUINE),
        DeadAddress("x@example.org", Cause.DOMAIN_UNKNOWN, NOON, NOON, 1, Provenance.UNKNOWN),
    ),
    dead_count=2,
    undelivered=(Undelivered("inbox", "Many bounces", "INBOX is over quota", 3, NOON + HOUR),),
)


class Tags(HTMLParser):
    """All tags with their attributes, and the text outside of style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "img", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)


def written(*told: Chronicle) -> str:
    return page(told, zone=UTC)


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def words(*told: Chronicle) -> str:
    return " ".join(" ".join(parsed(written(*told)).words).split())


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("told", [QUIET, FULL, replace(QUIET, look=chronicle.Look())])
def test_the_page_loads_nothing_and_runs_nothing(told: Chronicle, language: str) -> None:
    found = parsed(written(replace(told, language=language)))

    attributes = [(name, value or "") for _, attrs in found.tags for name, value in attrs.items()]
    loading = {"src", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href", "style"}
    assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for name, _ in attributes if name.startswith("on") or name in loading]
    assert all(value.startswith("#") for name, value in attributes if name == "href")
    assert "url(" not in found.style
    assert "@import" not in found.style
    assert all(value.startswith("url(#") for _, value in attributes if "url(" in value)
    assert not re.search(r"(?i)https?:|//", written(told).replace("</", ""))
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_nothing_of_a_mail_comes_through_as_it_is() -> None:
    bad = replace(
        FULL,
        account=HOSTILE,
        address=HOSTILE,
        folder=HOSTILE,
        look=chronicle.Look(NOON, HOSTILE, NOON),
        filed=(Filed(HOSTILE, 1, NOON),),
        dead=(replace(FULL.dead[0], address=HOSTILE),),
        undelivered=(Undelivered(HOSTILE, HOSTILE, HOSTILE, 1, NOON),),
    )

    text = written(bad, QUIET)

    found = parsed(text)
    assert "<script" not in text
    assert "<img" not in text
    assert not {"\x1b", "\u202e", "\u200b", "\x00"} & set(text)
    assert "49" not in "".join(found.words)
    assert "&lt;script&gt;alert(1)" in text
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in parsed(written(FULL, QUIET)).tags}


def test_the_first_thing_said_is_whether_all_is_well() -> None:
    assert re.search(r"Is all well\? All is well\. There is nothing to do\.", words(QUIET))
    assert "Is all well? Somebody is probably sending mail with your address as the sender." in words(FULL)
    assert "Leave the bounces alone. They are being put into the folder Bounces" in words(FULL)
    hacked = replace(QUIET, incidents=(replace(WAVE, diagnosis=Diagnosis.COMPROMISED),))
    assert "Change the password of your mail account" in words(hacked)


def test_the_page_tells_all_of_it() -> None:
    told = words(FULL)

    for part in (
        "Since 27 February 2026: 20,000 bounces so far, 347 in the last 24 hours, at most 19,000.",
        "28 February 2026, 12:00: It was noticed: 347 bounces in 24 hours.",
        "From 16 March 2025 to 26 March 2025: 512 bounces, at most 99 in a day",
        "In 30 days, 344 bounces came back. The most in a day were 340, on 28 February 2026.",
        "There were also 2 delay warnings",
        "forged: not sent by you 300 87 %",
        "there is no such recipient the address does not exist 300",
        "clara@example.net there is no such recipient 1 Mar 2026 3 sent by you",
        "Bounces 344 1 Mar 2026",
        "“Many bounces”, through inbox, tried 3 times: INBOX is over quota",
    ):
        assert part in told


def test_each_account_has_a_section_in_its_own_language() -> None:
    text = written(replace(QUIET, account="home"), replace(FULL, account="trabalho", language="pt_BR"))

    assert '<html lang="en">' in text
    assert '<article class="account" id="account-2" lang="pt-BR">' in text
    assert "home : All is well. trabalho : Provavelmente alguém" in " ".join(" ".join(parsed(text).words).split())
    ids = [attrs["id"] for _, attrs in parsed(text).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_of_how_many_addresses_those_are_that_are_shown_is_said() -> None:
    told = replace(FULL, dead_count=5_001)

    assert f"These are {len(FULL.dead)} of 5,001." in words(told)
    assert f"These are {len(FULL.dead)}" not in words(FULL)


def test_before_anybody_looked_there_is_nothing_to_show() -> None:
    text = written(replace(QUIET, look=chronicle.Look()))

    assert "has not looked into this mailbox yet" in text
    assert "<table" not in text


def test_a_page_of_ours_can_be_told_from_any_other_file() -> None:
    assert MARK in written(QUIET)[:4_096]


def test_every_chart_has_a_table_that_says_the_same() -> None:
    text = written(FULL)

    assert text.count('<svg class="chart"') == text.count("<details>") == 2
    rows = re.findall(r"<tr><td><bdi>28 February 2026</bdi></td>(.*?)</tr>", text)
    assert [re.findall(r"<bdi>([\d,]+)</bdi>", row) for row in rows] == [
        ["300", "40", "0", "340"],
        ["300", "0", "40", "340"],
    ]


# --- the words and the colours ---------------------------------------------------------------------------------------


def leaves(texts: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, object]]:
    for key, value in texts.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def test_both_languages_say_the_same_things() -> None:
    english, portuguese = (
        dict(leaves(tomllib.loads((ROOM / "words" / f"{name}.toml").read_text(encoding="utf-8"))))
        for name in ("en", "pt")
    )
    own = {"day-month", "short-date"}

    def filled(text: object) -> set[str]:
        return set(re.findall(r"\{(\w+)", str(text)))

    assert set(english) == set(portuguese)
    assert not [key for key in english.keys() - own if filled(english[key]) != filled(portuguese[key])]


def palettes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", TEMPLATE, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("number", range(3))
def test_what_is_written_can_be_read_and_what_is_drawn_can_be_seen(number: int) -> None:
    """Contrast of text 4.5 and of graphics 3 (WCAG 2.2, 1.4.3 and 1.4.11): by day, by night, in print."""

    palette = palettes()[number]
    text = ("ink", "faint", "good", "calm", "warning", "alarm")
    bars = ("forged", "unknown", "genuine", "address", "full", "refused", "technical")

    assert len(palettes()) == 3
    assert {
        (name, ground) for name in text for ground in ("page", "box") if contrast(palette[name], palette[ground]) < 4.5
    } == set()
    assert {name for name in bars if contrast(palette[name], palette["page"]) < 3} == set()
