"""What is done with a message, and how a crash's loose ends are tied up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.filing.plan import (
    MAX_UID_SET_CHARS,
    Arrival,
    File,
    FilingPolicy,
    JournalEntry,
    Judged,
    Leave,
    LooseEnds,
    MessageRef,
    Method,
    Outcome,
    Watermark,
    decide,
    make_plan,
    settle,
    uid_set,
)
from bouncefiler.recognition.identity import Fingerprint, fingerprint_of, header_block
from bouncefiler.recognition.verdict import Cause, Kind, Verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUNCE = Verdict(Kind.FAILED, Cause.MAILBOX_FULL)
POLICY = FilingPolicy()


def arrival(uid: int, fingerprint: str = "", *, folder: str = "INBOX", uidvalidity: int = 7, size: int = 10) -> Arrival:
    ref = MessageRef(folder, uidvalidity, uid)
    return Arrival(ref, Fingerprint(fingerprint or f"print {uid}"), NOON, size)


def entry(uid: int, fingerprint: str = "", method: Method = Method.COPY, entry_id: int = 0) -> JournalEntry:
    here = arrival(uid, fingerprint)
    return JournalEntry(entry_id or uid, here.ref, here.fingerprint, here.size, NOON, "Bounces", 9, 100, method)


def copy_of(uid: int, fingerprint: str, uidvalidity: int = 9) -> Arrival:
    return arrival(uid, fingerprint, folder="Bounces", uidvalidity=uidvalidity)


class TestDecide:
    def test_a_failure_goes_to_the_bounce_folder(self) -> None:
        assert decide(BOUNCE, POLICY) == File("Bounces", "failed")

    def test_a_cause_may_have_a_folder_of_its_own(self) -> None:
        policy = replace(POLICY, cause_folders={Cause.MAILBOX_FULL: "Bounces/Full"})

        assert decide(BOUNCE, policy) == File("Bounces/Full", "failed")
        assert decide(replace(BOUNCE, cause=Cause.LOOP), policy) == File("Bounces", "failed")

    @pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.FAILED, Kind.DELAYED}))
    def test_what_is_no_bounce_stays(self, kind: Kind) -> None:
        assert isinstance(decide(Verdict(kind), POLICY), Leave)

    def test_a_kind_that_the_user_took_off_the_list_stays(self) -> None:
        policy = replace(POLICY, kinds=frozenset({Kind.FAILED}))

        assert decide(Verdict(Kind.DELAYED), policy) == Leave(
            "delayed delivery: `kinds` in the configuration leaves it out"
        )

    def test_an_imitation_stays_even_if_somebody_lists_its_kind(self) -> None:
        policy = replace(POLICY, kinds=frozenset(Kind))

        assert isinstance(decide(Verdict(Kind.IMITATION), policy), Leave)

    def test_the_first_of_the_users_rules_that_has_an_answer_wins(self) -> None:
        policy = replace(POLICY, routes={"second": File("Tickets", "rule: second", by_rule=True), "third": Leave("x")})

        assert decide(replace(BOUNCE, rules=("first", "second", "third")), policy) == policy.routes["second"]


class TestMakePlan:
    def test_a_message_that_the_user_put_back_stays(self) -> None:
        filed = {Fingerprint("print 5"): [Watermark("INBOX", 7, 4)]}

        plan = make_plan([Judged(arrival(5), BOUNCE)], POLICY, filed=filed)

        assert [left.why for left in plan.left] == ["put back by you"]
        assert not plan.batches

    def test_a_twin_that_lay_beside_a_filed_message_is_filed_too(self) -> None:
        filed = {Fingerprint("print 4"): [Watermark("INBOX", 7, 4)]}

        plan = make_plan([Judged(arrival(4), BOUNCE)], POLICY, filed=filed)

        assert len(plan.moves) == 1

    @pytest.mark.parametrize("mark", [Watermark("INBOX", 6, 9), Watermark("Other", 7, 9)])
    def test_a_mark_of_another_numbering_proves_no_twin(self, mark: Watermark) -> None:
        plan = make_plan([Judged(arrival(4), BOUNCE)], POLICY, filed={Fingerprint("print 4"): [mark]})

        assert [left.why for left in plan.left] == ["put back by you"]

    def test_a_message_that_somebody_marked_deleted_stays(self) -> None:
        plan = make_plan([Judged(replace(arrival(1), deleted=True), BOUNCE)], POLICY)

        assert [left.why for left in plan.left] == ["you marked it as deleted"]

    def test_a_message_already_in_its_folder_stays(self) -> None:
        plan = make_plan([Judged(arrival(1, folder="Bounces"), BOUNCE)], POLICY)

        assert [left.why for left in plan.left] == ["already in its folder"]

    @given(st.sets(st.integers(1, 2**32 - 1), max_size=3000), st.sampled_from([Kind.FAILED, Kind.OTHER]))
    def test_every_message_is_in_the_plan_exactly_once_and_each_batch_fits_one_command(
        self, uids: set[int], kind: Kind
    ) -> None:
        judged = [Judged(arrival(uid), Verdict(Kind.FAILED if uid % 3 else kind)) for uid in uids]

        plan = make_plan(judged, POLICY)

        planned = [move.judged.arrival.ref.uid for move in plan.moves]
        left = [left.judged.arrival.ref.uid for left in plan.left]
        assert sorted(planned + left) == sorted(uids)
        assert all(len(uid_set(batch.uids)) <= MAX_UID_SET_CHARS for batch in plan.batches)
        assert make_plan(judged, POLICY) == plan

    def test_a_message_held_by_a_settled_entry_is_not_planned_again(self) -> None:
        ends = LooseEnds((entry(1),), {arrival(1).ref: arrival(1)}, found={"Bounces": (copy_of(100, "print 1"),)})

        plan = make_plan([Judged(arrival(1), BOUNCE)], POLICY, loose_ends=ends)

        assert [s.outcome for s in plan.settlements] == [Outcome.MOVED]
        assert not plan.batches
        assert not plan.left


class TestUidSet:
    def test_runs_are_written_as_ranges(self) -> None:
        assert uid_set([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10"

    def test_an_empty_set_is_refused(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            uid_set([])

    @given(st.sets(st.integers(1, 500), min_size=1))
    def test_it_names_just_these(self, uids: set[int]) -> None:
        named: set[int] = set()
        for run in uid_set(uids).split(","):
            first, _, last = run.partition(":")
            named.update(range(int(first), int(last or first) + 1))

        assert named == uids


class TestSettle:
    """Rows of the crash table: what is found in source and target → how the entry ended."""

    def test_still_there_and_no_copy_means_that_it_never_happened(self) -> None:
        here = arrival(1)

        (settlement,) = settle(LooseEnds((entry(1),), {here.ref: here}))

        assert (settlement.outcome, settlement.remove) == (Outcome.VOID, None)

    def test_copied_but_not_removed_means_that_only_the_original_is_to_be_removed(self) -> None:
        here = arrival(1)

        (settlement,) = settle(LooseEnds((entry(1),), {here.ref: here}, found={"Bounces": (copy_of(100, "print 1"),)}))

        assert settlement.outcome is Outcome.MOVED
        assert settlement.remove == here.ref
        assert settlement.to_ref == MessageRef("Bounces", 9, 100)

    def test_a_server_with_move_never_has_an_original_removed(self) -> None:
        here = arrival(1)
        ends = LooseEnds(
            (entry(1, method=Method.MOVE),), {here.ref: here}, found={"Bounces": (copy_of(100, "print 1"),)}
        )

        assert [(s.outcome, s.remove) for s in settle(ends)] == [(Outcome.VOID, None)]

    def test_an_older_twin_in_the_target_is_not_taken_for_our_copy(self) -> None:
        here = arrival(1)

        (settlement,) = settle(LooseEnds((entry(1),), {here.ref: here}, found={"Bounces": (copy_of(99, "print 1"),)}))

        assert settlement.outcome is Outcome.VOID

    def test_of_two_twins_and_one_copy_only_one_original_is_removed(self) -> None:
        first, second = arrival(1, "twin"), arrival(2, "twin")
        ends = LooseEnds(
            (entry(1, "twin"), entry(2, "twin")),
            {first.ref: first, second.ref: second},
            found={"Bounces": (copy_of(100, "twin"),)},
        )

        assert [(s.outcome, s.remove) for s in settle(ends)] == [(Outcome.MOVED, first.ref), (Outcome.VOID, None)]

    def test_a_copy_is_that_of_the_twin_that_has_left_before_it_is_that_of_one_still_there(self) -> None:
        here = arrival(1, "twin")
        ends = LooseEnds(
            (entry(1, "twin"), entry(2, "twin")), {here.ref: here}, found={"Bounces": (copy_of(100, "twin"),)}
        )

        assert [(s.outcome, s.remove) for s in settle(ends)] == [(Outcome.VOID, None), (Outcome.MOVED, None)]

    def test_a_twin_that_came_at_another_time_is_not_our_copy(self) -> None:
        here = arrival(1)
        other = replace(copy_of(100, "print 1"), received_at=NOON - timedelta(seconds=1))

        (settlement,) = settle(LooseEnds((entry(1),), {here.ref: here}, found={"Bounces": (other,)}))

        assert (settlement.outcome, settlement.remove) == (Outcome.VOID, None)

    def test_a_server_that_gives_copies_a_new_time_has_moved_what_is_no_longer_in_its_place(self) -> None:
        other = replace(copy_of(100, "print 1"), received_at=NOON + timedelta(days=1))

        assert [s.outcome for s in settle(LooseEnds((entry(1),), found={"Bounces": (other,)}))] == [Outcome.MOVED]

    def test_a_message_of_another_size_is_not_our_copy(self) -> None:
        here = arrival(1)
        other = replace(copy_of(100, "print 1"), size=11)

        (settlement,) = settle(LooseEnds((entry(1),), {here.ref: here}, found={"Bounces": (other,)}))

        assert settlement.outcome is Outcome.VOID

    @pytest.mark.parametrize("method", Method)
    def test_no_longer_there_and_in_the_target_means_moved(self, method: Method) -> None:
        ends = LooseEnds((entry(1, method=method),), found={"Bounces": (copy_of(100, "print 1"),)})

        (settlement,) = settle(ends)

        assert (settlement.outcome, settlement.remove) == (Outcome.MOVED, None)

    def test_in_neither_place_means_that_somebody_took_it(self) -> None:
        assert [s.outcome for s in settle(LooseEnds((entry(1),)))] == [Outcome.GONE]

    def test_a_renumbered_source_without_a_copy_means_that_it_never_happened(self) -> None:
        ends = LooseEnds((entry(1),), renumbered=frozenset({"INBOX"}))

        assert [s.outcome for s in settle(ends)] == [Outcome.VOID]

    def test_a_renumbered_target_proves_nothing_as_long_as_the_original_is_there(self) -> None:
        here = arrival(1)
        ends = LooseEnds((entry(1),), {here.ref: here}, found={"Bounces": (copy_of(5, "print 1", uidvalidity=10),)})

        assert [(s.outcome, s.remove) for s in settle(ends)] == [(Outcome.VOID, None)]

    def test_another_message_at_the_same_place_is_never_removed(self) -> None:
        other = arrival(1, "another")
        ends = LooseEnds((entry(1),), {other.ref: other}, found={"Bounces": (copy_of(100, "print 1"),)})

        assert [s.remove for s in settle(ends)] == [None]


class TestIdentity:
    def test_line_ends_do_not_change_the_fingerprint(self) -> None:
        assert fingerprint_of(b"A: 1\r\nB: 2\r\n") == fingerprint_of(b"A: 1\nB: 2")

    def test_the_body_is_not_part_of_the_header_block(self) -> None:
        assert header_block(b"A: 1\nB: 2\n\nbody\r\n\r\nmore") == b"A: 1\nB: 2"

    def test_a_header_block_that_is_cut_off_is_not_one(self) -> None:
        assert header_block(b"A: 1\nB: 2\n") is None
