"""What is shown: the same for a pipe and a terminal, and never a control character from somebody else's mail."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bouncefiler import render
from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.posture import Code, Finding, Posture, Step, Suggestion
from bouncefiler.backscatter.volume import Wave
from bouncefiler.filing.plan import (
    Arrival,
    File,
    FilingPolicy,
    JournalEntry,
    Judged,
    Leave,
    MessageRef,
    Method,
    Move,
    MoveBatch,
    Outcome,
    Plan,
    Settlement,
    decide,
    make_plan,
)
from bouncefiler.filing.undo import FiledMessage, PastRun, Stays, Undo
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.status import EnhancedStatus
from bouncefiler.recognition.verdict import Cause, Evidence, Kind, Original, Recipient, Verdict
from bouncefiler.render import (
    Column,
    Document,
    Look,
    Overview,
    Table,
    Words,
    alert,
    alert_json,
    cells,
    clean_lines,
    clean_text,
    cleaned,
    explain,
    explain_json,
    lay_out,
    plan_json,
    posture,
    posture_json,
    preview,
    preview_json,
    progress,
    report_json,
    run,
    runs,
    to_json,
    undo,
)
from bouncefiler.sweep import Report

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIPE = Look()
TERMINAL = Look(width=80)
COLOURS = Look(width=80, colour=True)

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\nbcc: x\u202egpj.exe\u2066\u200b\ufeff\x00\x7f [bold]loud[/bold]"

STRAY = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u2028\u2029]")


class English:
    """Words for a test."""

    def label(self, cause: Cause, language: str) -> str:
        return cause.value.replace("-", " ")

    def advice(self, cause: Cause, language: str) -> str:
        return f"this helps against {cause.value}"


WORDS = Words(English())
PORTUGUESE = Words(English(), "pt_BR")


def verdict(
    kind: Kind = Kind.FAILED,
    cause: Cause | None = Cause.MAILBOX_FULL,
    who: str = "bob@example.org",
    subject: str = "March",
) -> Verdict:
    status = EnhancedStatus(5, 2, 2)
    return Verdict(
        kind,
        cause if kind.is_bounce else None,
        recipients=(Recipient(who, status=status, diagnostic_code="smtp; 552 full", cause=cause or Cause.UNKNOWN),),
        reporting_mta="mx.example.net",
        null_reverse_path=True,
        original=Original(message_id="<1@example.com>", from_="ana@example.com", subject=subject),
        evidence=(
            Evidence("rfc3464.action", "delivery-status", "Action: failed"),
            Evidence("causes.full", "diagnostic_code", "552 full"),
        ),
    )


def judged(uid: int, what: Verdict, subject: str = "Undelivered") -> Judged:
    when = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(hours=uid)
    return Judged(Arrival(MessageRef("INBOX", 7, uid), Fingerprint(f"f{uid}"), when, 900), what, subject)


def overview_of(items: Iterable[Judged], scanned: int = 8431, *, every: bool = True, words: Words = WORDS) -> Overview:
    overview = Overview(words, every)
    overview.add(replace(make_plan(items, FilingPolicy()), scanned=scanned))
    return overview


def some(*, every: bool = True) -> Overview:
    return overview_of(
        [
            judged(1, verdict()),
            judged(
                2, verdict(cause=Cause.USER_UNKNOWN, who="carol.with.a.long.name@subdomain.example.org", subject="")
            ),
            judged(3, verdict(Kind.DELAYED, Cause.UNREACHABLE, subject="退信 系统退信")),
            judged(4, verdict(Kind.AUTOREPLY)),
            judged(5, verdict(Kind.IMITATION, subject="Your mailbox closes today")),
        ],
        every=every,
    )


def shown(document: Document, look: Look = PIPE) -> str:
    return lay_out(document, look)


def test_preview_in_a_pipe() -> None:
    """Aligned, one message a line, nothing shortened that a program or a person may search for."""

    assert shown(preview(some(), zone=UTC)) == dedent("""\
        Would be filed
        received          for                                       why                   subject        goes to
        2026-03-01 13:00  bob@example.org                           mailbox full          March          Bounces
        2026-03-01 14:00  carol.with.a.long.name@subdomain.exampl…  user unknown          Undelivered    Bounces
        2026-03-01 15:00  bob@example.org                           delayed: unreachable  退信 系统退信  Bounces

        Left where they are
        messages  why
               1  automatic reply, no bounce
               1  imitation of a bounce: treat it as suspicious

        Careful: made to look like a delivery failure. Open no link and no attachment in this message:
        received          folder  subject
        2026-03-01 17:00  INBOX   Your mailbox closes today

        3 of 8,431 messages would be filed in Bounces. Nothing was changed.
        """)


def test_preview_on_a_terminal() -> None:
    """The same in 80 columns, still one message a line."""

    assert shown(preview(some(every=False), zone=UTC), TERMINAL) == dedent("""\
        Would be filed
        received          for                 why                 subject        goes to
        2026-03-01 13:00  bob@example.org     mailbox full        March          Bounces
        2026-03-01 14:00  carol.with.a.long…  user unknown        Undelivered    Bounces
        2026-03-01 15:00  bob@example.org     delayed: unreacha…  退信 系统退信  Bounces

        Left where they are
        messages  why
               1  automatic reply, no bounce
               1  imitation of a bounce: treat it as suspicious

        Careful: made to look like a delivery failure. Open no link and no attachment in
        this message:
        received          folder  subject
        2026-03-01 17:00  INBOX   Your mailbox closes today

        3 of 8,431 messages would be filed in Bounces. Nothing was changed.
        """)


def test_a_terminal_that_is_too_narrow_for_a_table_gets_its_cells_one_below_the_other() -> None:
    """Half a date and half an address in each of five columns say nothing."""

    text = shown(preview(some(), zone=UTC), Look(width=40))
    assert "received: 2026-03-01 13:00\n" in text
    assert "why: delayed: unreachable\n" in text


def test_facts_are_not_cut_off() -> None:
    """What stands beside a fact's name may be a command to type, or a bar for today."""

    facts = Table(
        "Details",
        (Column("", 20, 10), Column("", 120, 20)),
        (("at work", "nobody now; say: bouncefiler run"), ("bar", "·" * 35)),
    )
    assert (
        shown((facts,), Look(width=40))
        == "Details\nat work  nobody now; say: bouncefiler\n         run\nbar      " + "·" * 31 + "\n         ····\n"
    )


def test_colours_change_nothing_but_colours() -> None:
    """Without its colour codes, the terminal's text is the same."""

    document = preview(some(), zone=UTC)
    coloured = shown(document, COLOURS)
    assert "\x1b[1;33mCareful" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == shown(document, TERMINAL).split()


def test_many_moves_are_grouped_on_a_terminal() -> None:
    """First how many of what, then the newest; and how to see all."""

    text = shown(preview(overview_of((judged(n, verdict()) for n in range(60)), every=False), zone=UTC), TERMINAL)
    assert text.startswith(
        dedent("""\
        Would be filed
        messages  why           first       last        goes to
              60  mailbox full  2026-03-01  2026-03-03  Bounces

        The newest 20 of them (`--all-rows` shows all 60)
        """)
    )
    assert text.count("bob@example.org") == 20
    assert text.endswith("60 of 8,431 messages would be filed in Bounces. Nothing was changed.\n")


def test_many_pages_add_up_and_no_more_is_kept_than_is_shown() -> None:
    """However much is filed, and whatever the order in which it came."""

    pages = [[judged(n, verdict()) for n in range(page, 3_000, 30)] for page in range(30)]
    overview, whole = Overview(WORDS, every=False), Overview(WORDS, every=False)
    for page in pages:
        overview.add(replace(make_plan(page, FilingPolicy()), scanned=100))
    whole.add(replace(make_plan([item for page in pages for item in page], FilingPolicy()), scanned=3_000))
    assert len(overview.moves.items) == 20
    assert overview.oldest == judged(0, verdict()).arrival.received_at
    text = shown(preview(overview, zone=UTC))
    assert text == shown(preview(whole, zone=UTC))
    assert "all 3,000" in text
    assert text.count("bob@example.org") == 20
    assert all(
        f"{when:%Y-%m-%d %H:%M}" in text
        for when in (judged(n, verdict()).arrival.received_at for n in range(2_980, 3_000))
    )


def test_all_rows_are_there_for_who_asks() -> None:
    """`every` hides nothing, on a terminal either."""

    text = shown(preview(overview_of(judged(n, verdict()) for n in range(60))), TERMINAL)
    assert text.count("bob@example.org") == 60


def test_a_flood_of_imitations_does_not_bury_the_rest() -> None:
    """The newest are named, with how to see all."""

    items = [judged(n, verdict(Kind.IMITATION)) for n in range(500)]
    text = shown(preview(overview_of(items, every=False)), TERMINAL)
    assert text.count("INBOX") == 20
    assert "`--all-rows` shows all 500" in text


def test_several_targets_are_counted_each() -> None:
    """The sum says where how many go."""

    overview = Overview(WORDS)
    policy = FilingPolicy(cause_folders={Cause.MAILBOX_FULL: "Bounces/Full"})
    overview.add(replace(make_plan([judged(n, verdict()) for n in (1, 2)], policy), scanned=2))
    overview.add(replace(make_plan([judged(3, verdict(cause=Cause.POLICY))], policy), scanned=1))
    assert "3 of 3 messages would be filed in Bounces/Full (2), Bounces (1). Nothing" in shown(preview(overview))


@pytest.mark.parametrize(
    ("scanned", "says"),
    [
        (0, "There is no new mail to look at (`--all` also takes what was looked at before). Nothing was changed.\n"),
        (1, "1 message looked at, nothing to file. Nothing was changed.\n"),
        (8431, "8,431 messages looked at, nothing to file. Nothing was changed.\n"),
    ],
)
def test_nothing_to_file_is_said(scanned: int, says: str) -> None:
    """An empty table would leave a person in doubt."""

    assert shown(preview(overview_of([], scanned))) == says


def test_a_move_by_a_rule_names_the_rule() -> None:
    """It is the user's doing, not ours."""

    overview = Overview(WORDS)
    policy = FilingPolicy(routes={"tickets": File("Tickets", "rule: tickets", by_rule=True)})
    overview.add(make_plan([judged(1, replace(verdict(), rules=("tickets",)))], policy))
    assert re.search(r"rule: tickets +March +Tickets", shown(preview(overview)))


def test_more_recipients_are_counted() -> None:
    """One line a message, however many failed."""

    what = replace(verdict(), recipients=tuple(Recipient(f"{name}@example.org") for name in "abc"))
    assert "a@example.org +2" in shown(preview(overview_of([judged(1, what)])))


def entry() -> JournalEntry:
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return JournalEntry(1, MessageRef("INBOX", 7, 9), Fingerprint("f"), 900, when, "Bounces", 3, 4, Method.MOVE)


SETTLED = {outcome: Settlement(entry(), outcome) for outcome in Outcome}


def test_loose_ends_are_told_first() -> None:
    """Who was interrupted wants to know that first."""

    overview = Overview(WORDS)
    overview.add(Plan(settlements=(SETTLED[Outcome.MOVED], SETTLED[Outcome.VOID])))
    assert shown(preview(overview)).startswith(
        "An earlier run was interrupted. Of the messages it was moving, 1 had arrived, "
        "1 had not been moved and will be looked at again."
    )


def test_a_loose_end_that_the_scan_comes_upon_again_is_one_message() -> None:
    """What was not moved after all is planned with the loose ends, and found again in the folder."""

    overview = Overview(WORDS)
    overview.add(replace(make_plan([judged(1, verdict())], FilingPolicy()), settlements=(SETTLED[Outcome.VOID],)))
    overview.add(replace(make_plan([judged(1, verdict()), judged(2, verdict())], FilingPolicy()), scanned=9))
    assert overview.moves.count == overview.targets.total() == 2
    assert shown(preview(overview)).count("bob@example.org") == 2


def test_clean_says_what_was_done() -> None:
    """The same table, and then what came of it."""

    text = shown(cleaned(some(), Report(scanned=8431, moved=3), zone=UTC))
    assert text.startswith("Filed\nreceived")
    assert text.endswith("3 of 8,431 messages were filed in Bounces.\n")


def test_clean_says_what_it_does_not_know() -> None:
    """Two of three are confirmed; the third is not claimed."""

    text = shown(cleaned(some(), Report(scanned=8431, moved=2, unsettled=1)))
    assert "2 of 8,431 messages were filed in Bounces." in text
    assert "For 1 message the server did not say whether the move was done" in text


def test_clean_counts_what_it_found_out_at_the_end() -> None:
    """A last look at silent moves is no interrupted earlier run, and one that is tried again is not two."""

    overview = some()
    overview.add(replace(make_plan([judged(2, verdict())], FilingPolicy()), settlements=(SETTLED[Outcome.VOID],)))
    overview.add(Plan(settlements=(SETTLED[Outcome.MOVED], SETTLED[Outcome.GONE])))
    text = shown(cleaned(overview, Report(scanned=8431, moved=1, unsettled=3, settled=1), zone=UTC))
    assert "interrupted" not in text
    assert text.count("13:00") + text.count("14:00") + text.count("15:00") == 3
    assert text.endswith(
        "2 of 8,431 messages were filed in Bounces.\n\n1 message had been taken away by somebody else meanwhile.\n"
    )


def test_explain_for_people() -> None:
    """What it is, for whom, what to do, and the evidence in its order."""

    document = explain("mail.eml", verdict(), WORDS, subject="Undelivered", disposition=File("Bounces", "failed"))
    assert shown(document) == dedent("""\
        mail.eml: Undelivered

        A delivery failure: mailbox full.

        For whom
        recipient        why           status  the server said
        bob@example.org  mailbox full  5.2.2   smtp; 552 full

        What to do (mailbox full): this helps against mailbox-full

        Details
        reported by        mx.example.net
        returned: subject  March
        returned: from     ana@example.com
        returned: id       <1@example.com>
        would be           filed in Bounces (failed)

        How this is known, in the order in which it decided
        #  row             where            what stands there
        1  rfc3464.action  delivery-status  Action: failed
        2  causes.full     diagnostic_code  552 full
        """)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_sentence(kind: Kind) -> None:
    """A new kind must not surprise `explain`, in text or JSON."""

    what = verdict(kind)
    assert shown(explain("m", what, WORDS, disposition=Leave("so"))).splitlines()[2].endswith(".")
    assert explain_json("m", what, WORDS)["is_bounce"] is (kind in (Kind.FAILED, Kind.DELAYED))


def test_explain_says_when_only_a_part_was_read() -> None:
    """A verdict over half a message must not look whole."""

    assert "Only a part of the message" in shown(explain("m", replace(verdict(), incomplete=True), WORDS))


def test_explain_for_programs() -> None:
    """The five fields that are scored come first, then all the rest that is known."""

    record = json.loads(to_json(explain_json("mail", verdict(), WORDS)))
    assert list(record.items())[:5] == [
        ("id", "mail"),
        ("is_bounce", True),
        ("kind", "failed"),
        ("cause", "mailbox-full"),
        ("recipients", ["bob@example.org"]),
    ]
    assert record["status"] == "5.2.2"
    assert record["recipient_details"][0]["diagnostic_code"] == "smtp; 552 full"
    assert record["original"]["message_id"] == "<1@example.com>"
    assert record["evidence"][1] == {"rule": "causes.full", "where": "diagnostic_code", "excerpt": "552 full"}
    assert record["advice"] == "this helps against mailbox-full"


def test_what_is_no_bounce_has_no_cause() -> None:
    """Null in JSON, and no advice."""

    record = explain_json("m", Verdict(Kind.OTHER), WORDS)
    assert (record["cause"], record["recipients"], record["advice"], record["original"]) == (None, [], None, None)


def test_preview_for_programs() -> None:
    """Every message of the plan is one object, and a summary closes."""

    plan = replace(
        make_plan([judged(1, verdict()), judged(2, verdict(Kind.RECEIPT))], FilingPolicy()),
        settlements=(SETTLED[Outcome.GONE],),
        scanned=9,
    )
    overview = Overview(WORDS)
    overview.add(plan)
    settlement, move, left = (json.loads(to_json(record)) for record in plan_json("home", plan))
    assert (settlement["what"], settlement["uid"], settlement["outcome"]) == ("settlement", 9, "gone")
    assert (move["what"], move["account"], move["folder"], move["uid"], move["to"]) == (
        "move",
        "home",
        "INBOX",
        1,
        "Bounces",
    )
    assert (move["kind"], move["cause"], move["received_at"]) == ("failed", "mailbox-full", "2026-03-01T13:00:00+00:00")
    assert (left["what"], left["uid"], left["why"]) == ("left", 2, "receipt, no bounce")
    summary = preview_json("home", overview)
    assert (summary["scanned"], summary["moves"], summary["to"]) == (9, 1, {"Bounces": 1})


def test_clean_for_programs() -> None:
    """The report's own figures."""

    record = report_json("home", Report(scanned=9, moved=2, left=3, gone=1, unsettled=0, settled=1))
    counts = {"scanned": 9, "moved": 2, "left": 3, "gone": 1, "unsettled": 0, "settled": 1}
    assert record == {"what": "report", "account": "home"} | counts


def test_an_alert_keeps_its_paragraphs() -> None:
    """A list in it stays a list."""

    news = Alert("k", Level.CRITICAL, "Somebody uses your address", "Many bounces.\n\nDo this:\n- wait\n- tell them\n")
    assert shown(alert(news)) == "Somebody uses your address\n\nMany bounces.\n\nDo this:\n- wait\n- tell them\n"
    assert alert_json(news)["level"] == "critical"


def test_a_domains_posture_for_people() -> None:
    """What is wrong, what is published, and what could be instead, after asking somebody who knows."""

    found = Posture(
        "example.org",
        findings=(Finding(Code.SPF_LOOKUPS, number=14), Finding(Code.DMARC_NONE)),
        suggestions=(Suggestion(Step.DMARC_QUARANTINE, "_dmarc.example.org", "v=DMARC1; p=quarantine"),),
        published=(("_dmarc.example.org", "v=DMARC1; p=none"),),
    )
    paragraphs = shown(posture(found, "en")).split("\n\n")

    assert paragraphs[0] == "How example.org protects its mail against forgery"
    assert paragraphs[2].startswith("[wrong] SPF: the record takes 14 look-ups.")
    assert paragraphs[3].startswith("[weak] DMARC: the record only watches (p=none)")
    assert paragraphs[4].splitlines()[2] == "_dmarc.example.org  v=DMARC1; p=none"
    assert paragraphs[6].startswith("Ask whoever looks after the domain before anything is changed")
    assert paragraphs[7].splitlines()[1:] == ["  _dmarc.example.org  TXT", "  v=DMARC1; p=quarantine"]
    assert "O DNS não foi consultado" in shown(posture(found, "pt", offline=True))
    assert posture_json(found)["findings"] == [
        {"code": "spf-lookups", "severity": "bad", "text": "", "number": 14},
        {"code": "dmarc-none", "severity": "weak", "text": "", "number": 0},
    ]


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("code", Code)
def test_every_finding_is_shown_whole(code: Code, language: str) -> None:
    text = shown(posture(Posture("example.org", findings=(Finding(code, "x" * 160, 7),)), language))

    assert not set("{}") & set(text)
    assert not re.search(r"x…|…$", text, re.MULTILINE)


def hostile_documents() -> list[Document]:
    bad = replace(
        verdict(who=HOSTILE, subject=HOSTILE),
        reporting_mta=HOSTILE,
        format=HOSTILE,
        rules=(HOSTILE,),
        evidence=(Evidence(HOSTILE, HOSTILE, HOSTILE),),
        recipients=(Recipient(HOSTILE, diagnostic_code=HOSTILE),),
    )
    overview = Overview(WORDS)
    policy = FilingPolicy(bounce_folder=HOSTILE)
    overview.add(make_plan([judged(1, bad), judged(2, replace(bad, kind=Kind.IMITATION))], policy))
    many = Overview(WORDS, every=False)
    many.add(
        make_plan([judged(n, replace(bad, kind=(Kind.FAILED, Kind.IMITATION)[n % 2])) for n in range(120)], policy)
    )
    return [
        preview(overview),
        preview(many),
        cleaned(overview, Report(moved=1, scanned=2)),
        explain(HOSTILE, bad, WORDS, subject=HOSTILE, disposition=Leave(HOSTILE)),
        explain(HOSTILE, bad, WORDS, subject=HOSTILE, disposition=File(HOSTILE, HOSTILE)),
        alert(Alert("k", Level.WARNING, HOSTILE, HOSTILE.replace("\n", "\r"))),
        posture(hostile_posture(), "en"),
        *hostile_past(),
    ]


def hostile_past() -> list[Document]:
    ref = MessageRef(HOSTILE, 1, 2)
    prints = Fingerprint("f")
    message = FiledMessage(
        7, 1, ref, None, HOSTILE, 1, 1, prints, 9, NOON, Kind.FAILED, Cause.MAILBOX_FULL, HOSTILE, (HOSTILE,)
    )
    verdict = Verdict(Kind.FAILED, Cause.MAILBOX_FULL, (Recipient(HOSTILE),))
    back = Move(Judged(Arrival(ref, prints, NOON, 9), verdict, HOSTILE), "undo", by_rule=False, undoes=7)
    plan = Undo((MoveBatch(HOSTILE, 1, HOSTILE, (back,)),), (Stays(message, f"no longer in {HOSTILE}"),))
    return [undo(plan, WORDS), run(1, (message,), WORDS), runs(HOSTILE, (PastRun(1, HOSTILE, NOON, 3, 1),), WORDS)]


def hostile_posture() -> Posture:
    suggestion = Suggestion(Step.SPF_ENDED, HOSTILE, HOSTILE)
    return Posture(HOSTILE, None, (Finding(Code.SPF_SYNTAX, HOSTILE),), (suggestion,), ((HOSTILE, HOSTILE),))


@pytest.mark.parametrize("look", [PIPE, TERMINAL, COLOURS], ids=["pipe", "terminal", "colours"])
@pytest.mark.parametrize(
    "document",
    hostile_documents(),
    ids=["preview", "brief", "clean", "leave", "file", "alert", "posture", "undo", "run", "runs"],
)
def test_hostile_text_does_not_come_through(document: Document, look: Look) -> None:
    """No escape sequence, line break, direction override or rich markup of somebody else's reaches a terminal."""

    text = shown(document, look)
    own_colours = re.sub(r"\x1b\[[0-9;]*m", "", text) if look.colour else text
    assert STRAY.findall(own_colours) == []
    assert "\x1b[31m" not in text
    assert "\nbcc:" not in text


def test_markup_in_mail_is_shown_as_what_it_is() -> None:
    """To rich it would mean bold type, or a link."""

    loud = "[bold]loud[/bold] [link=x]y[/link] :smile:"
    document = explain("m", verdict(subject=loud), WORDS, subject=loud)
    assert shown(document, COLOURS).count(loud) == 2


def test_hostile_text_is_escaped_in_json() -> None:
    """One line of printable ASCII, which says the same when it is read again."""

    line = to_json({"subject": HOSTILE})
    assert re.fullmatch(r"[ -~]+", line)
    assert json.loads(line) == {"subject": HOSTILE}


@example("a\udcff\ud83d\x7f\u0085")
@given(st.text(alphabet=st.characters(), max_size=80))
def test_any_text_makes_sound_json(text: str) -> None:
    """Lone surrogates too: strict readers stumble over them."""

    line = to_json({"t": text})
    assert re.fullmatch(r"[ -~]+", line)
    assert json.loads(line)["t"] == text.encode("utf-8", "replace").decode()


@given(st.text(alphabet=st.characters(), max_size=400), st.integers(min_value=1, max_value=60))
def test_any_text_is_cleaned_into_its_width(text: str, width: int) -> None:
    """Printable, one line, no wider than asked."""

    line = clean_text(text, width)
    assert line.isprintable()
    assert cells(line) <= width
    assert STRAY.search(line) is None


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  a\t b\u00a0\u2028c\x85d ", "a b c d"),
        ("Não é possível: 退信", "Não é possível: 退信"),
        ("الرسالة שלום", "الرسالة שלום"),
        ("e\u0301" + "\u0301" * 50, "e" + "\u0301" * 3),
        ("👩\u200d💻", "👩💻"),
        ("x" * 30, "x" * 19 + "…"),
        ("退" * 20, "退" * 9 + "…"),
        ("\u200b" * 5000 + "hidden", "…"),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    """Letters of every script stay, tricks go."""

    assert clean_text(text, 20) == clean


def test_an_error_keeps_its_lines() -> None:
    """Those that are there to be copied stay lines, and stay clean."""

    assert (
        clean_lines("no password\n  password_from = { x\x1b[1m }\n\rend")
        == "no password\n  password_from = { x[1m }\nend"
    )


def test_what_the_encoding_lacks_is_no_crash() -> None:
    """A terminal in Latin-1 shows a question mark."""

    text = lay_out(preview(some()), Look(encoding="latin-1"))
    assert "?? ????" in text


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_a_terminal_is_recognised(environ: dict[str, str], colour: bool) -> None:
    """Colours only where they are wanted and understood."""

    look = Look.of(Screen(), environ)
    assert (look.terminal, look.colour) == (True, colour)
    assert not Look.of(io.StringIO(), environ).terminal


def test_a_dumb_terminal_gets_no_progress() -> None:
    """It would show every state of the bar, or a blank line for it."""

    screen = Screen()
    with progress(screen, Look.of(screen, {"TERM": "dumb"})) as move:
        move(0.5, "INBOX")
    assert screen.getvalue() == ""


def test_progress_is_for_terminals() -> None:
    """In a pipe there is nothing; on a terminal the untrusted name beside the bar is clean."""

    silent, screen = io.StringIO(), Screen()
    with progress(silent, PIPE) as move:
        move(0.5, "INBOX")
    assert silent.getvalue() == ""
    with progress(screen, COLOURS) as move:
        move(0.5, "IN\x1b[31mBOX [bold]")
    assert "\x1b[31mBOX" not in screen.getvalue()


def test_past_waves_are_told_without_an_alarm() -> None:
    first = datetime(2026, 1, 19, 12, tzinfo=UTC)
    wave = Wave(first, first + timedelta(days=2), 1_204, date(2026, 1, 20), 900)
    text = render.lay_out(render.waves([wave], WORDS), render.Look())
    record = render.waves_json("home", [wave])

    assert "1,204" in text
    assert "900 on 2026-01-20" in text
    assert "no alarm" in text
    assert record["waves"] == [
        {
            "first": wave.first.isoformat(),
            "last": wave.last.isoformat(),
            "bounces": 1_204,
            "peak_day": "2026-01-20",
            "peak": 900,
        }
    ]


def names_in(texts: Mapping[str, Any], path: str = "") -> dict[str, set[str]]:
    """Each text of a table of words, with the names that are filled into it."""
    found: dict[str, set[str]] = {}
    for key, value in texts.items():
        if isinstance(value, Mapping):
            found |= names_in(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = set(re.findall(r"\{(\w+)\}", " ".join(value) if isinstance(value, list) else value))
    return found


def test_both_languages_say_the_same_things() -> None:
    """A text that one of them lacks would end a command in the middle."""

    english, portuguese = (
        {k: v for k, v in Words(WORDS.wording, lang).texts.items() if k != "why"} for lang in ("en", "pt")
    )
    assert names_in(portuguese) == names_in(english)


@pytest.mark.parametrize("kind", Kind)
def test_why_a_message_is_left_is_said_in_portuguese(kind: Kind) -> None:
    """Planning knows one language."""

    disposition = decide(Verdict(kind), FilingPolicy(kinds=frozenset()))
    assert isinstance(disposition, Leave)
    assert PORTUGUESE.why(disposition.why) != disposition.why


def test_a_reason_that_is_a_rules_name_stays_as_it_is() -> None:
    """What the user has written is in the user's language."""

    assert PORTUGUESE.why("rule: tickets") == "rule: tickets"
    assert PORTUGUESE.why("came from 'a.b', and that folder is gone") == "veio de 'a.b', e essa pasta não existe mais"


def test_preview_in_portuguese() -> None:
    """All of it, not the causes alone."""

    overview = overview_of(
        [judged(n, verdict()) for n in range(1, 4)] + [judged(9, verdict(Kind.AUTOREPLY))], 8431, words=PORTUGUESE
    )
    assert shown(preview(overview, zone=UTC)).splitlines()[0] == "Seriam guardadas"
    assert shown(preview(overview, zone=UTC)).splitlines()[-3:] == [
        "        1  resposta automática, não é devolução",
        "",
        "3 de 8.431 mensagens seriam guardadas em Bounces. Nada foi alterado.",
    ]
