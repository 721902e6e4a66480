"""Forged or hacked: what the numbers are a sign of, and what they are not."""

from __future__ import annotations

import pytest

from bouncefiler.backscatter.diagnosis import Burst, Sign, Tally, diagnose, signs, tally, weighs_earlier
from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.backscatter.provenance import Provenance, Reason

QUIET = Tally()
NO_BURST = Burst(messages=3, recipients=4, strangers=1, usual=5.0)


def found(today: Tally, earlier: Tally = QUIET, burst: Burst = NO_BURST, days: float = 60) -> tuple[Sign, ...]:
    return signs(today, earlier, days, burst)


class TestTally:
    def test_each_bounce_is_counted_under_all_that_is_known_of_it(self) -> None:
        forged = Reason.HAS_ID | Reason.NOT_IN_SENT | Reason.REFUSED_AS_FORGED
        counted = tally(
            [
                (Provenance.FORGED, forged, 40),
                (Provenance.GENUINE, Reason.HAS_ID | Reason.IN_SENT, 2),
                (Provenance.UNKNOWN, Reason.NOTHING, 5),
            ]
        )

        assert counted == Tally(
            bounces=47, forged=40, genuine=2, with_id=42, in_sent=2, not_in_sent=40, refused_as_forged=40
        )
        assert counted.unknown == 5

    def test_signed_by_the_own_domain_counts_when_it_was_not_sent(self) -> None:
        signed = Reason.HAS_ID | Reason.SIGNED

        assert tally([(Provenance.GENUINE, signed | Reason.NOT_IN_SENT, 3)]).signed_unsent == 3
        assert tally([(Provenance.GENUINE, signed | Reason.IN_SENT, 3)]).signed_unsent == 0
        assert tally([(Provenance.GENUINE, signed, 3)]).signed_unsent == 0

    @pytest.mark.parametrize("excuse", [Reason.OTHER_SYSTEM, Reason.MAILING])
    def test_the_owners_other_systems_and_mailings_are_excused(self, excuse: Reason) -> None:
        signed = Reason.SIGNED | Reason.NOT_IN_SENT | excuse

        assert tally([(Provenance.GENUINE, signed, 30)]).signed_unsent == 0


class TestSigns:
    def test_forged_mail_alone_is_no_sign_of_an_intruder(self) -> None:
        assert found(Tally(bounces=9_000, forged=8_000, with_id=8_000, not_in_sent=8_000, refused_as_forged=900)) == ()

    def test_one_word_of_the_provider_is_enough(self) -> None:
        assert found(Tally(bounces=1, blocked=1)) == (Sign.BLOCKED,)

    @pytest.mark.parametrize(("number", "expected"), [(2, ()), (3, (Sign.SIGNED_UNSENT,))])
    def test_a_few_signed_messages_that_were_not_sent(self, number: int, expected: tuple[Sign, ...]) -> None:
        assert found(Tally(bounces=number, signed_unsent=number)) == expected

    @pytest.mark.parametrize("provider", [0, 2, 4, 5, 50])
    @pytest.mark.parametrize("own", [0, 2, 3, 30])
    def test_what_came_earlier_matters_only_where_that_is_said(self, own: int, provider: int) -> None:
        today = Tally(bounces=90, signed_unsent=own, provider_signed_unsent=provider)
        often = Tally(bounces=90_000, signed_unsent=9_000, provider_signed_unsent=9_000)

        assert weighs_earlier(today) == (found(today, often) != found(today))

    def test_what_another_system_sends_every_day_is_no_sign(self) -> None:
        """A shop that mails in the owner's name without leaving copies: three dead addresses a day, then forty."""
        usual = Tally(signed_unsent=180)

        assert found(Tally(signed_unsent=9), usual) == ()
        assert found(Tally(signed_unsent=40), usual) == (Sign.SIGNED_UNSENT,)

    @pytest.mark.parametrize(("number", "expected"), [(4, ()), (5, (Sign.PROVIDER_SIGNED_UNSENT,))])
    def test_a_shared_providers_signature_weighs_less(self, number: int, expected: tuple[Sign, ...]) -> None:
        assert found(Tally(bounces=number, provider_signed_unsent=number)) == expected


class TestBursts:
    CAME_BACK = Tally(bounces=12, genuine=12, with_id=12, in_sent=12)
    TO_STRANGERS = Burst(messages=400, recipients=400, strangers=390, usual=6.0)

    def test_hundreds_of_strangers_within_a_day(self) -> None:
        assert found(self.CAME_BACK, burst=self.TO_STRANGERS) == (Sign.BURST,)

    def test_one_message_to_hundreds_counts_as_well(self) -> None:
        one = Burst(messages=1, recipients=400, strangers=390, usual=6.0)

        assert found(self.CAME_BACK, burst=one) == (Sign.BURST,)

    @pytest.mark.parametrize(
        "burst",
        [
            Burst(messages=400, recipients=400, strangers=20, usual=6.0),  # a newsletter to people written to before
            Burst(messages=400, recipients=400, strangers=390, usual=60.0),  # somebody who always writes that much
            Burst(messages=400, recipients=400, strangers=390, usual=None),  # nobody knows what is usual
            Burst(messages=20, recipients=25, strangers=25, usual=0.5),  # invitations
        ],
    )
    def test_what_is_no_burst_to_strangers(self, burst: Burst) -> None:
        assert found(self.CAME_BACK, burst=burst) == ()

    def test_nothing_has_come_back_of_it(self) -> None:
        assert found(Tally(bounces=4, in_sent=4), burst=self.TO_STRANGERS) == ()


def test_any_sign_makes_it_a_hacked_account() -> None:
    assert diagnose(()) is Diagnosis.BACKSCATTER
    assert all(diagnose((sign,)) is Diagnosis.COMPROMISED for sign in Sign)
