"""What signatures in returned mail prove: with a key made for the run, published by a name server of the tests."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bouncefiler.backscatter.domains import ABSENT, UNKNOWN, Answer, Status
from bouncefiler.backscatter.proof import Outcome, Proof, may_be_signed
from bouncefiler.backscatter.records import Key, key_of, tags
from bouncefiler.edge.dkim import MAX_BODY, MAX_SIGNATURES, prove
from tests.nameserver import Fault, Nameserver, serving
from tests.signing import signing_key

MESSAGE = b"""\
From: Ana <ana@example.org>
To: bo@example.com
Subject: Minutes of
\tthe meeting
Date: Wed, 4 Mar 2026 10:00:00 +0000
Message-ID: <1@example.org>

Hello  Bo,

see you.
""".replace(b"\n", b"\r\n")
HEADER = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Nameserver]:
    records = {"TXT": [signing_key().record]}
    with serving({"k1._domainkey.example.org": records, "k1._domainkey.mail.example.org": records}) as running:
        yield running


def proofs(
    server: Nameserver, returned: bytes, *, whole: bool = False, domain: str = "example.org"
) -> tuple[Proof, ...]:
    return prove(returned, server.resolver(lifetime=0.3).txt, domains={domain}, whole=whole)


def proof(server: Nameserver, returned: bytes, *, whole: bool = False) -> Proof:
    (one,) = proofs(server, returned, whole=whole)
    return one


def header_of(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[0] + b"\r\n"


def without_answer(_name: str) -> Answer:
    return UNKNOWN


def with_key(_name: str) -> Answer:
    return Answer(Status.FOUND, (signing_key().record,))


def test_a_message_that_came_back_whole_is_proved(server: Nameserver) -> None:
    found = proof(server, signing_key().sign(MESSAGE), whole=True)

    assert (found.domain, found.selector, found.outcome, found.why) == ("example.org", "k1", Outcome.VALID, "")
    assert found.covers_from
    assert found.covers_message_id
    assert found.covers_date
    assert found.body_intact is True
    assert {"from", "to", "subject", "date", "message-id"} <= set(found.signed)


@pytest.mark.parametrize("canonicalize", [(b"relaxed", b"simple"), (b"simple", b"simple"), (b"simple", b"relaxed")])
@pytest.mark.parametrize("length", [False, True])
def test_the_header_alone_is_proof_enough(server: Nameserver, canonicalize: tuple[bytes, bytes], length: bool) -> None:
    """Also when the body is counted (l=)."""

    found = proof(server, header_of(signing_key().sign(MESSAGE, canonicalize=canonicalize, length=length)))

    assert (found.outcome, found.body_intact) == (Outcome.VALID, None)


@pytest.mark.parametrize(
    "mangled",
    [
        lambda mail: mail.replace(b"\r\n", b"\n"),
        lambda mail: mail.replace(b"\r\n", b"\r"),
        lambda mail: mail.replace(b"\r\n", b"\r\r\n"),
        lambda mail: mail.replace(b"\r\n\tthe", b" the"),
        lambda mail: mail.replace(b"Subject:", b"SUBJECT:  "),
        lambda mail: b"Return-Path: <ana@example.org>\r\nReceived: from a\r\n\tby b\r\n" + mail,
        lambda mail: b"From ana@example.org Wed Mar  4 10:00:00 2026\r\n" + mail,
        lambda mail: b"\r\n\r\n" + mail,
        lambda mail: mail + b"X-Added: later\r\n",
    ],
)
def test_what_servers_do_to_a_header_on_its_way_back_does_no_harm(server: Nameserver, mangled: object) -> None:
    assert callable(mangled)
    assert proof(server, mangled(header_of(signing_key().sign(MESSAGE)))).outcome is Outcome.VALID


def test_a_header_that_was_tampered_with_is_not_proved(server: Nameserver) -> None:
    signed = header_of(signing_key().sign(MESSAGE))

    for forged in (
        signed.replace(b"Minutes", b"Invoice"),
        signed.replace(b"<1@", b"<2@"),
        signed.replace(b"From: Ana", b"From: Eve <eve@example.net>\r\nFrom: Ana"),
        signed.replace(b"; s=k1", b"; s=K1"),
    ):
        assert forged != signed
        found = proof(server, forged)
        assert found.outcome is Outcome.INVALID
        assert not found.covers_from


def test_a_changed_body_takes_nothing_from_the_proof_of_the_header(server: Nameserver) -> None:
    found = proof(server, signing_key().sign(MESSAGE) + b"-- \r\nAdded by a gateway\r\n", whole=True)

    assert (found.outcome, found.body_intact) == (Outcome.VALID, False)
    assert "body" in found.why


@pytest.mark.parametrize("canonicalize", [(b"relaxed", b"relaxed"), (b"simple", b"simple")])
@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"a \t b  \r\n\r\n\r\n", b"no end", b" \r\n"])
def test_a_body_is_intact_as_the_signer_sees_it(
    server: Nameserver, canonicalize: tuple[bytes, bytes], body: bytes
) -> None:
    signed = signing_key().sign(HEADER + b"\r\n" + body, canonicalize=canonicalize)

    assert proof(server, signed, whole=True).body_intact is True
    assert proof(server, signed + b"x", whole=True).body_intact is False


def test_a_body_of_which_a_part_is_signed_or_that_is_very_long_stays_open(server: Nameserver) -> None:
    counted = proof(server, signing_key().sign(MESSAGE, length=True), whole=True)
    long = proof(server, signing_key().sign(MESSAGE + b"a\r\n" * MAX_BODY), whole=True)

    assert (counted.outcome, counted.body_intact) == (Outcome.VALID, None)
    assert (long.outcome, long.body_intact) == (Outcome.VALID, None)


def test_what_is_not_signed_is_not_covered(server: Nameserver) -> None:
    """Neither a field that the signer left out, nor one that somebody has put above the signed one."""

    of_from_alone = proof(server, header_of(signing_key().sign(MESSAGE, fields=(b"from",))))
    doubled = proof(server, b"Message-ID: <forged@example.net>\r\n" + header_of(signing_key().sign(MESSAGE)))

    assert (of_from_alone.covers_from, of_from_alone.covers_message_id, of_from_alone.covers_date) == (
        True,
        False,
        False,
    )
    assert (doubled.outcome, doubled.covers_message_id, doubled.covers_date) == (Outcome.VALID, False, True)


def test_only_signatures_of_aligned_domains_are_looked_at(server: Nameserver) -> None:
    server.asked.clear()

    assert proofs(server, signing_key().sign(MESSAGE, domain="badexample.org")) == ()
    assert proofs(server, signing_key().sign(MESSAGE), domain="example.com") == ()
    assert not server.asked
    assert [p.outcome for p in proofs(server, signing_key().sign(MESSAGE), domain="Mail.Example.ORG")] == [
        Outcome.VALID
    ]
    assert proof(server, signing_key().sign(MESSAGE, domain="mail.example.org")).domain == "mail.example.org"


def test_most_signatures_of_others_are_told_without_reading_them() -> None:
    signed = signing_key().sign(MESSAGE, domain="mail.example.org")

    assert may_be_signed(signed, {"example.org"})
    assert may_be_signed(signed, {"Sub.Mail.Example.ORG"})
    assert not may_be_signed(signed, {"example.com", "badexample.org"})
    assert not may_be_signed(MESSAGE, {"example.org"})


def test_of_several_signatures_each_is_told(server: Nameserver) -> None:
    twice = signing_key().sign(signing_key().sign(MESSAGE, domain="mail.example.org"))
    many = MESSAGE
    for _ in range(MAX_SIGNATURES + 3):
        many = signing_key().sign(many)

    assert [found.domain for found in proofs(server, twice)] == ["example.org", "mail.example.org"]
    assert len(proofs(server, many)) == MAX_SIGNATURES


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (None, "not published"),
        (Fault.SERVFAIL, "no answer"),
        (Fault.SILENCE, "no answer"),
        ({"TXT": ["v=DKIM1; k=rsa; p="]}, "revoked"),
        ({"TXT": ["v=spf1 -all"]}, "none"),
        ({"TXT": ["v=DKIM1; p=AAAA"]}, "damaged"),
        ({"TXT": ["v=DKIM1; k=ed25519; p=" + "A" * 43 + "="]}, "another kind"),
        ({"TXT": [signing_key(512).record]}, "512 bits"),
    ],
)
def test_without_a_key_it_is_unknown_and_it_is_said_why(server: Nameserver, entry: object, why: str) -> None:
    zone: dict[str, object] = {} if entry is None else {"k1._domainkey.example.org": entry}
    with serving(zone) as other:  # type: ignore[arg-type]
        found = proof(other, signing_key().sign(MESSAGE))

    assert found.outcome is Outcome.UNKNOWN
    assert why in found.why


def test_algorithms_that_prove_nothing_or_that_we_cannot_do_are_unknown(server: Nameserver) -> None:
    signed = signing_key().sign(MESSAGE)

    for algorithm in (b"rsa-sha1", b"ed25519-sha256"):
        found = proof(server, signed.replace(b"rsa-sha256", algorithm))
        assert found.outcome is Outcome.UNKNOWN
        assert algorithm.decode() in found.why


def test_a_signature_that_has_expired_is_as_genuine_as_it_was(server: Nameserver) -> None:
    """A bounce may come days later; dkimpy alone would refuse it."""

    import dkim  # noqa: PLC0415

    class Expiring(dkim.DKIM):  # type: ignore[misc]
        def gen_header(self, fields: list[tuple[bytes, bytes]], *rest: object) -> bytes:
            return bytes(super().gen_header([*fields[:-1], (b"x", b"1767225600"), fields[-1]], *rest))

    signed = Expiring(MESSAGE).sign(b"k1", b"example.org", signing_key().pem) + MESSAGE
    found = proof(server, signed)

    assert not dkim.verify(signed, dnsfunc=lambda *_args, **_kwargs: signing_key().record)
    assert (found.outcome, found.why) == (Outcome.VALID, "made to be verified until 2026-01-01")


def test_a_key_in_several_strings_or_beside_other_records_is_found(server: Nameserver) -> None:
    with serving({"k1._domainkey.example.org": {"TXT": ["other", signing_key().record]}}) as other:
        assert proof(other, signing_key().sign(MESSAGE)).outcome is Outcome.VALID


GARBAGE = (
    b"",
    b"\r\n",
    b" continued\r\nDKIM-Signature: d=example.org",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=!; b=!\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; i=example.org; s=k1; h=from; bh=AAAA; b=AAAA\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; c=x/y; d=example.org; s=k1; h=from; bh=AAAA; b=AAAA\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=md5; d=example.org; s=k1; h=from; bh=AAAA; b=AAAA; t=9; x=8; l=-1\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=../k1; h=from; bh=AAAA; b=AAAA\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=to; bh=AAAA; b=AAAA\r\nFrom: a\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from:\xff; bh=AAAA; b=AAAA\r\nFrom: a\r\n",
)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_no_proof(garbage: bytes) -> None:
    assert all(
        found.outcome is Outcome.INVALID for found in prove(garbage, with_key, domains={"example.org"}, whole=True)
    )


@pytest.mark.parametrize(
    "hostile",
    [
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=" + b" \t" * 30_000 + b"!",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=" + b"\r\n " * 20_000 + b"!",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=" + b"a:" * 30_000 + b"from; bh=AAAA; b=AAAA",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=AAAA\r\n" + b"a:\r\n" * 16_000,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=AAAA\r\nFrom: a"
        + b"\r\n " * 20_000,
        b"DKIM-Signature:;b" * 4_000,
        b"DKIM-Signature: d=example.org; s=k1; h=from\r\n" * 1_400,
        b"\r" * 65_536,
        (b";b" + b"\t" * 70) * 900,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=A" + (b";b" + b"\t" * 70) * 100,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=k1; h=from; bh=AAAA; b=A" + b"=" * 8_000 + b"!",
    ],
)
def test_hostile_headers_come_to_an_end(hostile: bytes) -> None:
    """Patterns of dkimpy's, left alone with these, would run for minutes and more."""

    found = prove(hostile + b"\r\nFrom: a\r\n\r\n" + b" " * 200_000, with_key, domains={"example.org"}, whole=True)

    assert all(one.outcome is not Outcome.VALID for one in found)


@pytest.mark.parametrize("blanks", [b"\r\n " * 14, b" " * 40, b"A" * 8_192])
def test_a_signature_of_blanks_or_without_end_is_passed_over(server: Nameserver, blanks: bytes) -> None:
    """dkimpy's patterns take time in the square of such a run."""

    signed = header_of(signing_key().sign(MESSAGE))

    assert proof(server, signed.replace(b"; s=k1", b"; n=" + blanks[:30] + b"x; s=k1")).outcome is Outcome.INVALID
    assert proofs(server, signed.replace(b"; s=k1", b"; n=" + blanks + b"x; s=k1")) == ()


def test_a_hostile_body_under_a_good_signature_comes_to_an_end(server: Nameserver) -> None:
    for body in (b" " * 200_000, b"\r\n" * 100_000, b" \r\n" * 80_000, b"\t \r" * 80_000):
        assert proof(server, signing_key().sign(MESSAGE) + body + b"x", whole=True).body_intact is False


PIECES = st.sampled_from(
    (
        *(b"DKIM-Signature:", b"v=1;", b"a=rsa-sha256;", b"d=example.org;", b"s=k1;", b"h=from;", b"h=from:to;"),
        *(b"bh=AAAA;", b"b=AAAA;", b"b=", b"c=relaxed;", b"c=/;", b"l=1;", b"t=1;", b"x=99999999999999999999;"),
        *(b"i=@example.org;", b"q=dns/txt;", b"\r\n", b"\r\n ", b"\n", b"\r", b" ", b";", b"=", b":", b"From: a"),
    )
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join), st.booleans())
def test_any_octets_prove_nothing_and_raise_nothing(octets: bytes, whole: bool) -> None:
    assert all(
        found.outcome is Outcome.INVALID for found in prove(octets, with_key, domains={"example.org"}, whole=whole)
    )


@given(
    st.lists(
        st.sampled_from(
            (
                *(
                    b"DKIM-Signature:",
                    b"X:",
                    b"\r\n",
                    b"\n",
                    b"\r",
                    b" ",
                    b"\t",
                    b"\x1f",
                    b";",
                    b"=",
                    b":",
                    b"d",
                    b"d=",
                ),
                *(b"s=k1;", b"h=from;", b"example.org", b"d=example.org;", b".", b"a", b"bd=", b"d=d="),
            )
        ),
        max_size=8,
    ).map(b"".join)
)
@example(b"d=example.org")
@example(b"a=x; d =\r\n\texample.org")
def test_no_signature_is_passed_over(octets: bytes) -> None:
    returned = b"X: d=\r\nDKIM-Signature:" + octets + b";s=k1; h=from\r\n"

    assert may_be_signed(returned, {"example.org"}) or not prove(
        returned, with_key, domains={"example.org"}, whole=False
    )


@given(st.text() | st.binary().map(lambda der: "v=DKIM1; p=" + base64.b64encode(der).decode()))
def test_any_record_is_a_key_or_none(record: str) -> None:
    key = key_of([record])
    signed = header_of(signing_key().sign(MESSAGE))
    (found,) = prove(signed, lambda _name: Answer(Status.FOUND, (record,)), domains={"example.org"}, whole=False)

    assert key is None or key.record == record
    assert found.outcome is not Outcome.VALID


@pytest.mark.parametrize("bits", [512, 1_024, 2_048])
def test_a_keys_length_is_read_from_it(bits: int) -> None:
    assert key_of([signing_key(bits).record]) == Key("rsa", bits, False, False, signing_key(bits).record)  # noqa: FBT003


def test_tag_lists_are_read_as_rfc_6376_says() -> None:
    assert tags(" v=DKIM1 ; n=a=b; p = A A ;\r\n") == {"v": "DKIM1", "n": "a=b", "p": "A A"}
    assert tags("a=1; a=2") is None
    assert tags("a=1;; b=2") is None
    assert tags("no tags") is None
    assert tags("") is None


def test_what_dkimpy_says_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        prove(signing_key().sign(MESSAGE), with_key, domains={"example.org"}, whole=True)
        prove(signing_key().sign(MESSAGE), lambda _name: ABSENT, domains={"example.org"}, whole=True)
        prove(MESSAGE, without_answer, domains={"example.org"}, whole=True)

    assert not caplog.records
