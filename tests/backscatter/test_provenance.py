"""Did the owner send it? Each kind of evidence alone, against what is known, and the strong against the weak."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter import provenance
from bouncefiler.backscatter.proof import Outcome, Proof
from bouncefiler.backscatter.provenance import Clues, Coverage, Found, Known, Provenance, Reason, attribute, clues_of
from bouncefiler.recognition import classify, rulebook
from bouncefiler.recognition.message_id import shape_of
from bouncefiler.recognition.verdict import Cause, Kind, Original, Recipient, Verdict
from tests.recognition.samples import all_samples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = "<minutes-1@example.org>"
KNOWN = Known(
    identities=frozenset({"ana@example.org", "ana.lima@gmail.com"}),
    coverage=Coverage(NOON - timedelta(days=400), NOON + timedelta(minutes=1)),
    id_domains={"example.org": 40, "laptop.example.org": 3},
    relays=frozenset({"example.org", "google.com"}),
    shared=frozenset({"gmail.com", "google.com"}),
)


def signature(domain: str, outcome: str = "valid", *, covers_from: bool = True) -> Proof:
    return Proof(domain, "s1", Outcome(outcome), covers_from=covers_from)


OURS = Clues(ids=(ID,), from_="ana@example.org")
ALIEN = replace(OURS, from_="x@spam.example")


class TestOneKindOfEvidence:
    @pytest.mark.parametrize(
        ("clues", "sent", "proofs", "expected", "why"),
        [
            (OURS, {ID}, (), Provenance.GENUINE, Reason.IN_SENT),
            (OURS, set(), (), Provenance.UNKNOWN, Reason.NOT_IN_SENT),
            (OURS, set(), [signature("example.org")], Provenance.GENUINE, Reason.SIGNED),
            (OURS, set(), [signature("mail.example.org")], Provenance.GENUINE, Reason.SIGNED),
            (OURS, set(), [signature("example.org", covers_from=False)], Provenance.UNKNOWN, Reason.NOT_IN_SENT),
            (OURS, set(), [signature("example.org", "invalid")], Provenance.FORGED, Reason.BROKEN_SIGNATURE),
            (OURS, set(), [signature("example.org", "unknown")], Provenance.UNKNOWN, Reason.NOT_IN_SENT),
            (OURS, set(), [signature("spam.example")], Provenance.UNKNOWN, Reason.NOT_IN_SENT),
            (
                replace(OURS, from_="x@spam.example"),
                set(),
                [signature("example.org")],
                Provenance.FORGED,
                Reason.OTHER_SENDER,
            ),
            (replace(OURS, refused_as_forged=True), set(), (), Provenance.FORGED, Reason.REFUSED_AS_FORGED),
            (Clues(refused_as_forged=True), set(), (), Provenance.FORGED, Reason.REFUSED_AS_FORGED),
            (replace(OURS, relays=("mx3.example.org",)), set(), (), Provenance.UNKNOWN, Reason.OWN_RELAY),
            (Clues(relays=("mx3.example.org",)), set(), (), Provenance.GENUINE, Reason.OWN_RELAY),
            (Clues(relays=("mail-f41.google.com",)), set(), (), Provenance.UNKNOWN, Reason.SHARED_RELAY),
            (Clues(relays=("host.spam.example",)), set(), (), Provenance.FORGED, Reason.OTHER_RELAYS),
            (Clues(sent_to="prvs=0123abcdef=ana@example.org"), set(), (), Provenance.GENUINE, Reason.TAGGED),
            (ALIEN, set(), (), Provenance.FORGED, Reason.OTHER_SENDER),
            (Clues(ids=("<7@spam.example>",)), set(), (), Provenance.FORGED, Reason.FOREIGN_ID),
            (Clues(ids=("<7@desk.example.org>",)), set(), (), Provenance.UNKNOWN, Reason.NOT_IN_SENT),
            (Clues(), set(), (), Provenance.UNKNOWN, Reason.NOTHING),
        ],
    )
    def test_says_what_it_is_worth(
        self, clues: Clues, sent: set[str], proofs: list[Proof], expected: Provenance, why: Reason
    ) -> None:
        found = attribute(clues, NOON, KNOWN, Found(sent, (), proofs))

        assert (found.provenance, found.reasons & why) == (expected, why)

    def test_a_signature_of_a_shared_provider_proves_only_the_provider(self) -> None:
        clues = replace(OURS, from_="ana.lima@gmail.com")
        found = attribute(clues, NOON, KNOWN, Found(proofs=[signature("gmail.com")]))

        assert found.provenance is Provenance.UNKNOWN
        assert Reason.PROVIDER_SIGNED in found.reasons
        assert Reason.SIGNED not in found.reasons

    def test_of_another_user_of_the_provider_it_says_nothing(self) -> None:
        clues = replace(OURS, from_="somebody.else@gmail.com")
        found = attribute(clues, NOON, KNOWN, Found(proofs=[signature("gmail.com")]))

        assert not found.reasons & (Reason.PROVIDER_SIGNED | Reason.SIGNED)

    def test_untagged_counts_only_where_tags_are_usual(self) -> None:
        clues = Clues(sent_to="ana@example.org")

        assert attribute(clues, NOON, KNOWN, Found()).provenance is Provenance.UNKNOWN
        assert attribute(clues, NOON, replace(KNOWN, tagged=True), Found()).provenance is Provenance.FORGED

    @pytest.mark.parametrize(
        ("result", "expected"),
        [("pass", Provenance.GENUINE), ("fail", Provenance.FORGED), ("none", Provenance.UNKNOWN)],
    )
    def test_authentication_results_are_believed_of_the_bouncing_server(
        self, result: str, expected: Provenance
    ) -> None:
        told = (("mx.example.net", "spf", result, "example.org"),)

        assert attribute(Clues(results=told, reporting="mx.example.net"), NOON, KNOWN, Found()).provenance is expected
        assert attribute(Clues(results=told, reporting="mx.other.example"), NOON, KNOWN, Found()).reasons == 0
        assert attribute(Clues(results=told), NOON, KNOWN, Found()).reasons == 0

    def test_another_system_of_the_owners_is_named_in_the_configuration(self) -> None:
        clues = Clues(ids=("<1@shop.example.net>",), from_="shop@example.net")
        known = replace(KNOWN, also_sends=frozenset({"example.net"}))

        assert attribute(clues, NOON, KNOWN, Found()).provenance is Provenance.FORGED
        assert attribute(clues, NOON, known, Found()).provenance is Provenance.UNKNOWN

    def test_a_blocked_account_is_believed_of_the_owners_provider_or_of_the_owners_mail(self) -> None:
        clues = replace(OURS, blocked_at="Microsoft")

        assert Reason.BLOCKED not in attribute(clues, NOON, KNOWN, Found()).reasons
        assert Reason.BLOCKED in attribute(clues, NOON, KNOWN, Found({ID})).reasons
        theirs = replace(KNOWN, providers=frozenset({"Microsoft"}))
        assert Reason.BLOCKED in attribute(clues, NOON, theirs, Found()).reasons


class TestWithoutAnId:
    """Some servers return nothing of the message; whom it was for, they say."""

    CLUES = Clues(recipients=("bo@example.net", "cy@example.net"))
    COMPLETE = replace(KNOWN, coverage=Coverage(NOON - timedelta(days=400), NOON, complete=True))

    def test_somebody_whom_the_owner_writes_to_speaks_for_the_owner(self) -> None:
        found = attribute(self.CLUES, NOON, KNOWN, Found(contacts={"cy@example.net"}))

        assert (found.provenance, found.reasons) == (Provenance.GENUINE, Reason.WROTE_TO)

    def test_nobody_whom_the_owner_ever_wrote_to_speaks_weakly_against(self) -> None:
        found = attribute(self.CLUES, NOON, self.COMPLETE, Found())

        assert (found.provenance, found.reasons) == (Provenance.UNKNOWN, Reason.NEVER_WROTE)

    def test_that_is_only_known_when_all_sent_mail_is(self) -> None:
        assert attribute(self.CLUES, NOON, KNOWN, Found()).reasons is Reason.NOTHING

    def test_where_there_is_an_id_that_decides(self) -> None:
        clues = replace(self.CLUES, ids=(ID,))

        assert not attribute(clues, NOON, self.COMPLETE, Found(contacts={"bo@example.net"})).reasons & Reason.WROTE_TO


class TestWhatIsNotKnown:
    @pytest.mark.parametrize(
        "coverage",
        [
            Coverage(),
            Coverage(NOON - timedelta(days=3), NOON + timedelta(hours=1)),
            Coverage(NOON - timedelta(days=400), NOON - timedelta(hours=1)),
            Coverage(None, NOON, complete=True),
        ],
    )
    def test_a_miss_counts_only_where_the_sent_mail_is_known(self, coverage: Coverage) -> None:
        found = attribute(OURS, NOON, replace(KNOWN, coverage=coverage), Found())

        assert Reason.NOT_IN_SENT not in found.reasons

    def test_a_few_sent_messages_do_not_tell_what_ids_look_like(self) -> None:
        few = replace(KNOWN, id_domains={"example.org": 19})

        assert Reason.FOREIGN_ID not in attribute(Clues(ids=("<7@spam.example>",)), NOON, few, Found()).reasons

    def test_an_id_that_is_made_as_none_of_the_owners_is_weak_evidence(self) -> None:
        usual = replace(KNOWN, id_shapes={shape_of("20260301.12@example.org"): 40})
        other, own = Clues(ids=("<zzqx!@example.org>",)), Clues(ids=("<20251224.7@example.org>",))

        assert Reason.FOREIGN_SHAPE in attribute(other, NOON, usual, Found()).reasons
        assert Reason.FOREIGN_SHAPE not in attribute(own, NOON, usual, Found()).reasons
        few = replace(usual, id_shapes={"9.9": 19})
        assert Reason.FOREIGN_SHAPE not in attribute(other, NOON, few, Found()).reasons

    def test_what_nobody_knows_anything_of_is_unknown(self) -> None:
        assert attribute(OURS, NOON, Known(), Found()).provenance is Provenance.UNKNOWN


@given(st.sets(st.sampled_from([reason for reason in Reason if not reason & (Reason.IN_SENT | Reason.SIGNED)])))
def test_proof_outweighs_all_evidence(against: set[Reason]) -> None:
    """Whatever else speaks against it, what is in Sent, or signed by the own domain, was sent."""

    for proof in (Reason.IN_SENT, Reason.SIGNED):
        reasons = proof
        for reason in against:
            reasons |= reason
        assert provenance._weigh(reasons) is Provenance.GENUINE


def test_the_bits_of_reasons_stay_what_they_are() -> None:
    """They are kept in the state file: appended to, never changed."""

    assert [(reason.name, reason.value) for reason in Reason][:3] == [("HAS_ID", 1), ("IN_SENT", 2), ("NOT_IN_SENT", 4)]
    assert [reason.value for reason in Reason] == [1 << i for i in range(len(Reason))]
    assert Reason.MAILING == 1 << 18


class TestClues:
    def test_the_returned_messages_own_id_comes_before_what_the_report_answers(self) -> None:
        answering = Verdict(Kind.FAILED, answers=("<a@x>", "<b@x>"))

        assert clues_of(answering).ids == ("<a@x>", "<b@x>")
        assert clues_of(replace(answering, original=Original(message_id="<own@x> "))).ids == ("<own@x>",)

    def test_hosts_and_addresses_are_written_small(self) -> None:
        original = Original(
            from_='"Lima, Ana" <Ana@Example.ORG>',
            received=(
                "from a (b [192.0.2.1]) by MX1.Example.org with ESMTPS id 5; Sun, 1 Mar 2026 10:00:02 +0000",
                "from [192.0.2.9] by laptop; Sun, 1 Mar 2026 10:00:01 +0000",
            ),
        )
        clues = clues_of(Verdict(Kind.FAILED, original=original, reporting_mta="dns; MX.Example.net (Postfix)"))

        assert (clues.from_, clues.relays, clues.reporting) == (
            "ana@example.org",
            ("mx1.example.org", "laptop"),
            "mx.example.net",
        )

    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            (
                "authentication-results: mx.example.net; spf=fail (no) smtp.mailfrom=ana@example.org; dkim=none",
                ("mx.example.net", "spf", "fail", "example.org"),
            ),
            (
                "authentication-results: mx.example.net; dmarc=fail (p=NONE) header.from=example.org",
                ("mx.example.net", "dmarc", "fail", "example.org"),
            ),
            (
                "received-spf: Softfail (mx.example.net: domain of x) envelope-from=ana@example.org; helo=x",
                ("mx.example.net", "spf", "softfail", "example.org"),
            ),
            (
                'received-spf: pass receiver=mx.example.net; envelope-from="ana@example.org"',
                ("mx.example.net", "spf", "pass", "example.org"),
            ),
        ],
    )
    def test_authentication_results(self, field: str, expected: tuple[str, ...]) -> None:
        verdict = Verdict(Kind.FAILED, original=Original(authentication=(field,)))

        assert clues_of(verdict).results == (expected,)

    def test_every_sample_gives_clues(self) -> None:
        """Of our own mails that return a message, most show an id; and none of the clues is a half-read field."""

        book = rulebook.load()
        verdicts = [classify.examine(sample.raw, False, book)[0] for sample in all_samples()]  # noqa: FBT003
        returned = [clues_of(verdict) for verdict in verdicts if verdict.original and verdict.original.message_id]

        assert len(returned) > 30
        assert all(clues.ids and clues.ids[0].startswith("<") for clues in returned if "<" in str(clues.ids))
        assert all("@" in clues.from_ and " " not in clues.from_ for clues in returned if clues.from_)


class TestFailures:
    def test_each_failed_recipient_once_with_its_cause(self) -> None:
        verdict = Verdict(
            Kind.FAILED,
            recipients=(
                Recipient("Bo@Example.com", action="failed", cause=Cause.USER_UNKNOWN),
                Recipient("bo@example.com", action="failed", cause=Cause.MAILBOX_FULL),
                Recipient("late@example.com", action="delayed", cause=Cause.UNREACHABLE),
                Recipient("x@inner.example", original_recipient="<cy@example.com>", cause=Cause.MAILBOX_FULL),
                Recipient("postmaster", cause=Cause.USER_UNKNOWN),
            ),
        )
        found = [(failure.address, failure.cause, failure.permanent) for failure in provenance.failures_of(verdict)]

        assert found == [
            ("bo@example.com", Cause.USER_UNKNOWN, True),
            ("cy@example.com", Cause.MAILBOX_FULL, False),
        ]

    def test_of_what_did_not_fail_there_is_none(self) -> None:
        verdict = Verdict(Kind.DELAYED, recipients=(Recipient("bo@example.com", cause=Cause.UNREACHABLE),))

        assert provenance.failures_of(verdict) == ()


class TestNames:
    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("mail-f41.google.com", "google.com"),
            ("google.com", "google.com"),
            ("mx1.example.com.br", "example.com.br"),
            ("example.com.br", "example.com.br"),
            ("laptop", "laptop"),
        ],
    )
    def test_network(self, host: str, expected: str) -> None:
        assert provenance.network(host) == expected

    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            ("example.org", "example.org", True),
            ("mail.example.org", "example.org", True),
            ("example.org", "mail.example.org", True),
            ("org", "example.org", False),
            ("notexample.org", "example.org", False),
            ("", "example.org", False),
        ],
    )
    def test_aligned(self, one: str, other: str, *, expected: bool) -> None:
        assert provenance.aligned(one, other) is expected

    def test_relays_are_believed_when_half_of_the_mail_goes_by_them(self) -> None:
        counts = {"example.org": 4, "wifi.example.net": 1}

        assert provenance.usual_relays(counts, 4) == {"example.org"}
        assert provenance.usual_relays(counts, 2) == set()

    def test_the_bouncing_server_teaches_nothing(self) -> None:
        clues = Clues(relays=("mx.example.net", "mx1.example.org"), reporting="mx.example.net")

        assert provenance.lessons_of(clues).relays == ("example.org",)
