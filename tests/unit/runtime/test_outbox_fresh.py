"""Fresh packs: only what comes right behind the cursor, in order, and no more of it than fits."""

from services.runtime.outbox_fresh import FreshPacks
from services.runtime.outbox_packs import Pack
from tests.support.outbox import an_event


def a_pack(first_sequence: int, events: int = 1) -> Pack:
    return Pack(
        sequence=first_sequence + events - 1,
        first_sequence=first_sequence,
        events=[an_event(str(number)) for number in range(first_sequence, first_sequence + events)],
    )


def fresh(*packs: Pack, events_max: int = 100) -> FreshPacks:
    kept = FreshPacks(events_max)
    kept.add(packs)
    return kept


def test_packs_right_behind_the_cursor_are_given_in_order() -> None:
    packs = [a_pack(1, 2), a_pack(3), a_pack(4, 3)]
    assert fresh(*packs).after(0, events_max=100) == packs
    assert fresh(*packs).after(2, events_max=100) == packs[1:]


def test_where_the_next_is_missing_none_is_given() -> None:
    assert fresh(a_pack(3)).after(1, events_max=100) == []
    assert fresh().after(0, events_max=100) == []


def test_a_cursor_within_a_pack_gives_none() -> None:
    """The database knows what to do with that; here it would be events that were published."""
    assert fresh(a_pack(1, 3), a_pack(4)).after(2, events_max=100) == []


def test_what_comes_behind_a_gap_is_kept_until_the_gap_is_published() -> None:
    kept = fresh(a_pack(1), a_pack(3))
    assert [pack.sequence for pack in kept.after(0, events_max=100)] == [1]
    kept.let_go(1)
    assert len(kept) == 1
    assert kept.after(1, events_max=100) == []
    assert [pack.sequence for pack in kept.after(2, events_max=100)] == [3]


def test_no_more_events_than_asked_for_but_always_a_pack() -> None:
    packs = [a_pack(1, 3), a_pack(4, 3), a_pack(7, 3)]
    assert fresh(*packs).after(0, events_max=1) == packs[:1]
    assert fresh(*packs).after(0, events_max=4) == packs[:2]


def test_the_oldest_go_where_there_are_too_many() -> None:
    kept = fresh(a_pack(1, 3), a_pack(4, 3), events_max=5)
    assert kept.after(0, events_max=100) == []
    assert [pack.first_sequence for pack in kept.after(3, events_max=100)] == [4]
