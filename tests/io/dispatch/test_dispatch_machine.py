"""Dispatching under whatever happens, and policies that must not get through.

`make test-machine` goes through some two thousand histories. A failure prints its moves.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from sendplan.io.database.engine import connect
from sendplan.io.delivery import claimer as claims
from sendplan.io.delivery import recovery, transitions
from sendplan.tests.worlds.dispatching import facts
from sendplan.tests.worlds.dispatching.machine import NEXT_SLOT, DispatchMachine
from sendplan.tests.worlds.problems.methods import examples, tries

HISTORIES, MOVES = 30, 60

PLANNING = ("it_is_planned_anew", "overdue_ones_are_handed_over", "all_is_well_again")
"""Rules that take most of the time, and that dispatchers can go wrong without."""

TO_CATCH = settings(
    max_examples=200,
    stateful_step_count=MOVES,
    derandomize=True,
    database=None,
    deadline=None,
    # That it is found is enough; the shortest way to it is nobody's concern.
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

Run = Callable[..., Counter[str]]


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    facts.fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def run(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> Run:
    # This wait alone is not one by the machine's clock.
    monkeypatch.setattr(claims, "CONTENDED", 0.0)

    def run(how: settings, without: Collection[str] = (), start: int | None = None) -> Counter[str]:
        machine = DispatchMachine.on(filled, without)
        if start is not None:
            machine = seed(start)(machine)
        try:
            run_state_machine_as_test(machine, settings=how)
        finally:
            machine.close_sessions()
        return machine.seen

    return run


@pytest.mark.slow
def test_whatever_happens_no_email_is_accepted_twice_and_none_is_lost(run: Run) -> None:
    seen = run(settings(examples(HISTORIES), stateful_step_count=MOVES, print_blob=True))
    # Histories in which little happens would show little.
    least = {
        "accepted": 40,
        "died after it was accepted": 2,
        "recovered as pending": 4,
        "recovered as uncertain": 4,
        "stale": 4,
        "resolved": 3,
        "plans": 5,
        "recalculations": 10,
        "sound plans": 8,
        "ends": 1,
    }
    too_few = {what: seen[what] for what, times in least.items() if seen[what] < tries(times)}
    assert too_few == {}


def test_a_success_written_twice_does_not_take_its_enrollment_back(filled: Engine) -> None:
    machine = DispatchMachine.on(filled)
    history = machine()
    history.begin_anew()
    first, other = history.dispatchers[:2]
    history.wait(NEXT_SLOT)
    history.claim(first, 1)
    [attempt] = first.in_hand
    history.go_on(first, attempt, None, None)
    history.go_on(first, attempt, None, None)
    # Its commit goes through, and the connection breaks before anybody hears of it.
    history.record(attempt, first, heard=False)
    thread = attempt.claim.enrollment_id
    while len(history.log.of(thread)) < 2:
        history.wait(NEXT_SLOT)
        history.send_due(other)
    # The enrollment stands at its second step by now, and stays there.
    history.record(attempt, first)
    machine.close_sessions()


# ---------------------------------------------------------------- policies to be caught


def send_again_what_was_being_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    naive = recovery.RECOVER.replace("THEN 'uncertain'", "THEN 'pending'")
    naive = naive.replace("THEN lease_until END", "THEN NULL::timestamptz END")
    assert naive != recovery.RECOVER
    monkeypatch.setattr(recovery, "RECOVER", naive)
    monkeypatch.setitem(facts.MOVES, "recover", {(now, "pending") for now in facts.IN_FLIGHT})


def claim_without_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "used", lambda cursor, mailbox_ids, since: Counter[object]())


def claim_without_locking_the_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = claims.LOCK_MAILBOXES
    naive = replace(lock, statement=lock.statement.replace("FOR NO KEY UPDATE SKIP LOCKED", ""))
    assert naive != lock
    monkeypatch.setattr(claims, "LOCK_MAILBOXES", naive)
    listed = tuple(naive if one is lock else one for one in claims.PREPARED)
    monkeypatch.setattr(claims, "PREPARED", listed)


def write_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELEASE", "DOUBT", "POSTPONE", "FAIL"):
        statement = getattr(transitions, name)
        naive = statement.replace("AND email.claim_token = %(token)s", "")
        assert naive != statement
        monkeypatch.setattr(transitions, name, naive)


def begin_without_another_look(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, last = transitions.BEGIN, "AND email.lease_until > now()"
    head, rest = begin.statement.split(last)
    naive = replace(begin, statement=f"{head}{last} RETURNING email.id")
    assert "suppressed_at" in rest
    monkeypatch.setattr(transitions, "BEGIN", naive)
    listed = tuple(naive if one is begin else one for one in transitions.PREPARED)
    monkeypatch.setattr(transitions, "PREPARED", listed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "complaint", "start"),
    [
        (send_again_what_was_being_sent, "accepted", 4),
        (claim_without_counting, "has room for", 2),
        (claim_without_locking_the_mailbox, "has room for", 6),
        (write_without_the_token, "a stale claim", 5),
        (begin_without_another_look, "stopped, and begun", 0),
    ],
)
def test_a_naive_policy_is_caught(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    policy: Callable[[pytest.MonkeyPatch], None],
    complaint: str,
    start: int,
) -> None:
    """Each start gets there within some ten histories; another one would, only later."""
    policy(monkeypatch)
    with pytest.raises(AssertionError, match=complaint):
        run(TO_CATCH, PLANNING, start)
