"""Dispatchers, planner, recalculation, operators and crashes, in whatever order chance has them.

The real functions run on a real database, one level below the threads: each transaction of the
dispatcher is a move of its own, so that anything may come between any two of them. After each
move everything is looked at (`sendplan.tests.worlds.dispatching.facts`).
"""

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import Connection, Engine, text

from sendplan.io.changes.contacts import stop_contacts
from sendplan.io.delivery import claimer as claims
from sendplan.io.delivery import recovery, transitions
from sendplan.io.delivery.claim import Claim, Claimed
from sendplan.io.delivery.claimer import Claimer
from sendplan.io.delivery.overdue import hand_over
from sendplan.io.delivery.transactions import Transactions
from sendplan.io.messages.message_ids import message_id
from sendplan.io.messages.outcomes import Verdict
from sendplan.io.operations.uncertain import resolve
from sendplan.io.planning.check import check
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.recalc import Recalculation, recalc
from sendplan.io.publish.store import Pace
from sendplan.planner.changes import StopContacts
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import BLOCKED
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.stored_emails import run_sql, still_to_get
from sendplan.tests.worlds.dispatching import facts
from sendplan.tests.worlds.dispatching.changes import CHANGES, Change, just_enough
from sendplan.tests.worlds.dispatching.facts import (
    GRACE,
    IN_FLIGHT,
    LEASE,
    NOW,
    Accepted,
    Row,
    ServerLog,
)

Found = TypeVar("Found")

SECOND = timedelta(seconds=1)
MINUTE = 60 * SECOND
NEXT_SLOT = timedelta(0)
"""Stands for the time until the next slot."""

EARLY = (Verdict.TEMPORARY, Verdict.RECIPIENT, Verdict.REFUSED, Verdict.MAILBOX,
         Verdict.UNREACHABLE, Verdict.FLAWED, Verdict.WITHDRAWN)  # fmt: skip
"""How an email may end before it begins to leave."""

LATE = (Verdict.TEMPORARY, Verdict.RECIPIENT, Verdict.REFUSED, Verdict.MAILBOX)
"""How the server may answer to DATA, besides accepting."""


STOPS = (
    "UPDATE contacts SET suppressed_at = '{now}' WHERE id = {claim.contact_id}",
    "UPDATE sequences SET status = 'paused' WHERE id = {claim.sequence_id}",
    "UPDATE mailboxes SET status = 'paused' WHERE id = {claim.mailbox_id}",
    "UPDATE mailboxes SET status = 'removed' WHERE id = {claim.mailbox_id}",
)
"""What keeps a claimed email from leaving, besides the end of its enrollment."""


class Stage(Enum):
    """Where an email in a dispatcher's hands stands."""

    CLAIMED = "claimed"
    BEGUN = "begun"
    ANSWERED = "answered"


@dataclass(eq=False)
class Attempt:
    """An email in hand, as the dispatcher's memory has it."""

    claim: Claim
    stage: Stage = Stage.CLAIMED
    verdict: Verdict = Verdict.WITHDRAWN
    moment: datetime = NOW

    def answered(self, verdict: Verdict, moment: datetime) -> None:
        self.stage, self.verdict, self.moment = Stage.ANSWERED, verdict, moment


@dataclass(eq=False)
class Dispatcher:
    """One process: a session, and a memory that a crash takes."""

    session: Transactions
    claimer: Claimer
    in_hand: list[Attempt] = field(default_factory=list)


class CrashError(Exception):
    """Out of the midst of a transaction, or from between two batches."""


class DispatchMachine(RuleBasedStateMachine):
    """Whatever happens, no email is accepted twice, none is lost, and no limit is passed.

    A subclass sets `engine` to a database that `dispatch_facts.fill` has filled.

    Attributes
    ----------
    engine : Engine
    seen : Counter of str
        How often things have happened, over all runs of the class.
    """

    engine: ClassVar[Engine]
    sessions: ClassVar[list[Transactions]]
    looking: ClassVar[Connection]
    seen: ClassVar[Counter[str]]
    dispatchers_at_once: ClassVar[int] = 3

    @classmethod
    def on(cls, engine: Engine, without: Collection[str] = ()) -> type["DispatchMachine"]:
        """Return a machine for a database, with counts of its own, and without some rules."""
        prepared = (*claims.PREPARED, *transitions.PREPARED)
        sessions = [Transactions(engine, prepared) for _ in range(cls.dispatchers_at_once)]
        looking = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        members = {"engine": engine, "sessions": sessions, "looking": looking, "seen": Counter()}
        return type("DispatchMachineOnDatabase", (cls,), members | dict.fromkeys(without))

    @classmethod
    def close_sessions(cls) -> None:
        for session in cls.sessions:
            session.close()
        cls.looking.close()

    @initialize()
    def begin_anew(self) -> None:
        busy.restore(self.engine)
        self.time = NOW
        self.set_back = timedelta(0)
        self.log = ServerLog()
        self.not_before: dict[int, datetime] = {}
        self.tried: Counter[int] = Counter()
        self.given_back: set[int] = set()
        self.ended = self.requested = False
        self.stopped = 0
        facts.set_database_clock(self.looking, NOW)
        self.installation: uuid.UUID = self.looking.execute(
            text("SELECT id FROM installation")
        ).scalar_one()
        self.rows = facts.email_rows(self.looking)
        self.born = 0
        self.dispatchers = [self.new_dispatcher(session) for session in self.sessions]
        self.count("runs")

    # ------------------------------------------------------------ what everything stands on

    @property
    def now(self) -> datetime:
        """What dispatchers and planner take for the time; the database's clock is never wrong."""
        return self.time - self.set_back

    def count(self, *what: str) -> None:
        self.seen.update(what)

    def something_to_claim(self) -> bool:
        return any(at > self.now - GRACE for at in self.planned())

    def due(self) -> list[Row]:
        return [
            row
            for row in self.rows.values()
            if row.status == "pending"
            and row.plan_run_id is not None
            and row.send_at is not None
            and self.now - GRACE < row.send_at <= self.now
        ]

    def something_to_plan(self) -> bool:
        return self.requested or any(
            row.status == "pending" and row.plan_run_id is None and row.unplaced_reason is None
            for row in self.rows.values()
        )

    def overdue(self) -> list[Row]:
        return [
            row
            for row in self.rows.values()
            if row.status == "pending"
            and row.plan_run_id is not None
            and row.send_at is not None
            and row.send_at <= self.now - GRACE
        ]

    def new_dispatcher(self, session: Transactions) -> Dispatcher:
        self.born += 1
        name = f"dispatcher/{self.born}"
        return Dispatcher(session, Claimer(self.installation, name, lease=LEASE, grace=GRACE))

    def attempts(self) -> list[tuple[Dispatcher, Attempt]]:
        return [(one, attempt) for one in self.dispatchers for attempt in one.in_hand]

    def look(self, did: str) -> None:
        """See that every invariant holds after a commit."""
        before, self.rows = self.rows, facts.email_rows(self.looking)
        rows = self.rows.values()
        facts.assert_moved_as_allowed(before, self.rows, did)
        facts.assert_well_formed(rows)
        facts.assert_room_is_kept(before.values(), rows, facts.limits(self.looking))
        facts.assert_enrollments_follow(self.looking, rows, self.given_back)
        requests = self.looking.scalar(text("SELECT count(*) FROM change_requests"))
        self.requested = requests > 0
        self.log.assert_accounted_for(rows)
        for row in rows:
            if row.message_id is not None:
                own = message_id(self.installation, row.enrollment_id, row.step_id)
                assert row.message_id == own, row

    def values(self, query: str) -> list[Any]:
        return list(self.looking.scalars(text(query)))

    def pick(self, query: str, which: int) -> Any:
        """Choose one of the ids that a query gives; 0 is no row's id."""
        found = sorted(self.values(query))
        return found[which % len(found)] if found else 0

    def wait(self, how_long: timedelta) -> None:
        """Let time pass: so much, or until the next planned email is due."""
        if how_long == NEXT_SLOT:
            ahead = (at - self.now for at in self.planned())
            how_long = min((left for left in ahead if left > NEXT_SLOT), default=MINUTE)
        self.time += how_long
        facts.set_database_clock(self.looking, self.time)

    def planned(self) -> list[datetime]:
        """Give the moments at which emails may be claimed."""
        return [
            max(row.send_at, row.retry_at or row.send_at)
            for row in self.rows.values()
            if row.status == "pending" and row.plan_run_id is not None and row.send_at is not None
        ]

    # ------------------------------------------------------------ the dispatcher's transactions

    def claim(self, dispatcher: Dispatcher, limit: int) -> None:
        with self.claiming(dispatcher, limit):
            pass

    @contextmanager
    def claiming(self, dispatcher: Dispatcher, limit: int) -> Iterator[None]:
        """Claim; the block runs before the commit, and what it raises undoes the claim."""
        due = still_to_get(self.looking)
        with dispatcher.session.begin() as cursor:
            found = dispatcher.claimer.claim(
                cursor.connection, self.now, limit, lambda mailbox_id: 20
            )
            yield
        self.look_at_claims(found, due)
        dispatcher.in_hand += [Attempt(claim) for claim in found.claims]
        for claim in found.exhausted:
            given_up = Attempt(claim)
            given_up.answered(Verdict.REFUSED, self.now)
            dispatcher.in_hand.append(given_up)
            self.count("given up")

    def look_at_claims(self, found: Claimed, due: dict[int, list[int]]) -> None:
        before = self.rows
        self.look("claim")
        taken = [*found.claims, *found.exhausted]
        self.count(*("claims" for _ in taken))
        claimed = {key for key, row in self.rows.items() if row != before[key]}
        assert claimed == {claim.email_id for claim in taken}
        for claim in taken:
            row = self.rows[claim.email_id]
            due_step = next(iter(due.get(row.enrollment_id, ())), None)
            standing = facts.standing(self.looking, row.id)
            facts.assert_may_be_claimed(row, standing, due_step, self.now, self.log)
            assert self.now >= self.not_before.get(row.id, self.now), f"too soon again: {row}"
            assert row.message_id == claim.message_id

    def begin(self, attempt: Attempt, dispatcher: Dispatcher) -> None:
        claim = attempt.claim
        # As the sender does just before it asks the outcome recorder.
        if self.now >= claim.closes or self.now > claim.send_at + GRACE:
            attempt.answered(Verdict.WITHDRAWN, self.now)
            self.count("missed")
            return
        row = self.rows[claim.email_id]
        active = facts.standing(self.looking, row.id).active
        held = row.claim_token == claim.token and row.status == "claimed"
        in_time = row.lease_until is not None and row.lease_until > self.time
        with dispatcher.session.begin() as cursor:
            begun = transitions.begin(cursor, [claim], LEASE)
        self.look("begin")
        stopped = not (active and held and in_time)
        assert not (begun and stopped), f"stopped, and begun all the same: {row}"
        assert begun or stopped, f"held back for nothing: {row}"
        if begun:
            attempt.stage = Stage.BEGUN
        else:
            attempt.answered(Verdict.WITHDRAWN, self.now)
            self.count("stopped in time" if held and in_time else "stale")

    def transmit(self, attempt: Attempt, verdict: Verdict | None) -> None:
        """Let the server have the message; None: it accepts, and its answer is heard."""
        claim = attempt.claim
        row = self.rows[claim.email_id]
        assert row.message_id == claim.message_id, "on its way before its Message-ID was stored"
        self.tried[row.id] += 1
        assert self.tried[row.id] <= facts.MOST_ATTEMPTS, f"tried too often: {row}"
        if verdict in (None, Verdict.UNCERTAIN):
            standing = facts.standing(self.looking, row.id)
            mail = Accepted(
                claim.message_id,
                claim.enrollment_id,
                claim.step_id,
                claim.mailbox_id,
                self.now.astimezone(ZoneInfo(standing.zone)).date(),
                self.time,
                self.now,
                row.status == "sending" and (row.lease_until or NOW) >= self.time,
            )
            self.log.accept(mail, standing.gap)
            self.count("accepted")
        attempt.answered(verdict or Verdict.SENT, self.now)

    def record(self, attempt: Attempt, dispatcher: Dispatcher, *, heard: bool = True) -> None:
        """Write down what has become of an email.

        Without `heard` the connection breaks after the commit, so that it is written again.
        """
        claim = attempt.claim
        row = self.rows[claim.email_id]
        own = row.claim_token == claim.token
        with dispatcher.session.begin() as cursor:
            held = self.write(cursor, attempt)
        if held and attempt.verdict in UNTRIED:
            self.given_back.add(row.id)
        self.look(WORDS.get(attempt.verdict, "released"))
        if not own:
            assert not held, f"written for a stale claim: {row}"
            assert self.rows[claim.email_id] == row, f"changed by a stale claim: {row}"
            self.count("stale")
        elif row.status in IN_FLIGHT:
            assert held
            self.count(str(attempt.verdict))
            if attempt.verdict is Verdict.TEMPORARY:
                wait = facts.SHORTEST_BACKOFF * 2 ** (claim.attempts - 1)
                self.not_before[row.id] = attempt.moment + wait
        if heard:
            dispatcher.in_hand.remove(attempt)

    def write(self, cursor: Any, attempt: Attempt) -> bool:
        claim, moment = attempt.claim, attempt.moment
        match attempt.verdict:
            case Verdict.SENT:
                return bool(transitions.succeed(cursor, [(claim, moment)]))
            case Verdict.UNCERTAIN:
                return transitions.doubt(cursor, claim, "no answer")
            case Verdict.TEMPORARY:
                return transitions.postpone(cursor, claim, "451", moment)
            case Verdict.RECIPIENT:
                return transitions.fail(cursor, claim, "550", "bounced", moment, suppress=True)
            case Verdict.REFUSED:
                return transitions.fail(cursor, claim, "554", "refused", moment)
            case Verdict.MAILBOX:
                return transitions.pause_mailbox(cursor, claim, "535")
            case Verdict.FLAWED:
                return transitions.pause_sequence(cursor, claim, "flawed")
            case _:
                return transitions.release(cursor, claim)

    def go_on(
        self, dispatcher: Dispatcher, attempt: Attempt, early: Verdict | None, late: Verdict | None
    ) -> None:
        """Take an email in hand one move further."""
        if attempt.stage is Stage.CLAIMED and early is not None:
            attempt.answered(early, self.now)
        elif attempt.stage is Stage.CLAIMED:
            self.begin(attempt, dispatcher)
        elif attempt.stage is Stage.BEGUN:
            self.transmit(attempt, late)
        else:
            self.record(attempt, dispatcher)

    def die(self, which: int) -> None:
        dispatcher = self.dispatchers[which]
        for attempt in dispatcher.in_hand:
            row = self.rows[attempt.claim.email_id]
            if row.claim_token != attempt.claim.token:
                continue
            if attempt.stage is Stage.ANSWERED and attempt.verdict is Verdict.SENT:
                self.count("died after it was accepted" if row.status == "sending" else "died")
        self.count("crashes")
        self.dispatchers[which] = self.new_dispatcher(dispatcher.session)

    def take_back(self) -> None:
        with self.dispatchers[0].session.begin() as cursor:
            recovered = recovery.recover(cursor)
        self.given_back.update(recovered)
        self.look("recover")
        self.count(*(f"recovered as {status}" for status in recovered.values()))
        assert self.expired() == [], "beyond their lease"

    # ------------------------------------------------------------ rules: dispatching

    which = st.integers(0, dispatchers_at_once - 1)
    several = st.sampled_from([1, 1, 2, 4])
    chosen = st.integers(0, 11)
    waits = st.sampled_from([NEXT_SLOT, NEXT_SLOT, NEXT_SLOT, SECOND, MINUTE])
    earlies = st.sampled_from([*(None for _ in range(20)), *EARLY])
    lates = st.sampled_from([*(None for _ in range(9)), *(Verdict.UNCERTAIN,) * 3, *LATE])

    @precondition(lambda self: self.something_to_claim())
    @rule(which=which, limit=several, wait=waits)
    def some_are_claimed(self, which: int, limit: int, wait: timedelta) -> None:
        self.wait(wait)
        self.claim(self.dispatchers[which], limit)

    @precondition(lambda self: self.something_to_claim())
    @rule(
        which=which,
        limit=several,
        slots=st.integers(1, 3),
        scarce=st.booleans(),
        dies=st.booleans(),
    )
    def two_claim_at_once(
        self, which: int, limit: int, slots: int, scarce: bool, dies: bool
    ) -> None:
        """The second one begins and ends while the first one has not committed yet.

        If room is scarce, they want the last place of a mailbox-day.
        """
        for _ in range(slots):
            self.wait(NEXT_SLOT)
        if scarce:
            limit = 1
            self.leave_room_for_one_of_two()
        first, second = self.dispatchers[which], self.dispatchers[which - 1]
        try:
            with self.claiming(first, limit):
                self.claim(second, 4)
                if dies:
                    raise CrashError
        except CrashError:
            self.die(which)

    def leave_room_for_one_of_two(self) -> None:
        """Wait until two emails of the mailbox whose turn it is are due, and let it send one."""
        for _ in range(MOST_SLOTS):
            due = sorted(self.due(), key=lambda row: row.send_at or NOW)
            if due and sum(row.mailbox_id == due[0].mailbox_id for row in due) > 1:
                self.leave(due[0].mailbox_id or 0, 1)
                return
            self.wait(NEXT_SLOT)

    @precondition(lambda self: self.attempts())
    @rule(chosen=chosen, moves=st.integers(1, 2), early=earlies, late=lates)
    def one_goes_on(
        self, chosen: int, moves: int, early: Verdict | None, late: Verdict | None
    ) -> None:
        attempts = self.attempts()
        dispatcher, attempt = attempts[chosen % len(attempts)]
        for _ in range(moves):
            if attempt in dispatcher.in_hand:
                self.go_on(dispatcher, attempt, early, late)

    @precondition(lambda self: self.attempts())
    @rule(late=lates)
    def all_in_hand_are_seen_through(self, late: Verdict | None) -> None:
        for dispatcher in self.dispatchers:
            self.see_through(dispatcher, late)

    @precondition(lambda self: self.answered())
    @rule(chosen=chosen)
    def one_is_recorded_without_hearing_of_it(self, chosen: int) -> None:
        answered = self.answered()
        dispatcher, attempt = answered[chosen % len(answered)]
        self.record(attempt, dispatcher, heard=False)

    def answered(self) -> list[tuple[Dispatcher, Attempt]]:
        return [pair for pair in self.attempts() if pair[1].stage is Stage.ANSWERED]

    @precondition(lambda self: self.something_to_claim())
    @rule(which=which, slots=st.integers(1, 6), late=lates)
    def all_goes_well_for_a_while(self, which: int, slots: int, late: Verdict | None) -> None:
        """But for the answer to the last email, so that histories get somewhere."""
        for slot in range(slots):
            self.wait(NEXT_SLOT)
            self.send_due(self.dispatchers[which], late if slot == slots - 1 else None)

    def send_due(self, dispatcher: Dispatcher, late: Verdict | None = None) -> None:
        self.claim(dispatcher, 4)
        self.see_through(dispatcher, late)

    def see_through(self, dispatcher: Dispatcher, late: Verdict | None) -> None:
        for attempt in list(dispatcher.in_hand):
            while attempt in dispatcher.in_hand:
                self.go_on(dispatcher, attempt, None, late)

    # ------------------------------------------------------------ rules: what goes wrong

    @precondition(lambda self: self.attempts())
    @rule(chosen=chosen)
    def a_dispatcher_dies(self, chosen: int) -> None:
        busy_ones = [which for which, one in enumerate(self.dispatchers) if one.in_hand]
        self.die(busy_ones[chosen % len(busy_ones)])

    @precondition(lambda self: self.something_to_claim())
    @rule(
        which=which,
        wait=waits,
        stage=st.sampled_from([*Stage, Stage.ANSWERED]),
        late=lates,
        dead=st.booleans(),
        found=st.sampled_from([True, True, False]),
        back=st.booleans(),
    )
    def a_dispatcher_falls_silent(
        self,
        which: int,
        wait: timedelta,
        stage: Stage,
        late: Verdict | None,
        dead: bool,
        found: bool,
        back: bool,
    ) -> None:
        """It claims and gets so far; then it dies, or hangs until its lease has run out.

        If that is found, another one takes over at once, and the first one may come back.
        """
        self.wait(wait)
        dispatcher = self.dispatchers[which]
        self.claim(dispatcher, 2)
        for attempt in list(dispatcher.in_hand):
            while attempt in dispatcher.in_hand and attempt.stage is not stage:
                self.go_on(dispatcher, attempt, None, late)
        if dead:
            self.die(which)
        self.wait(LEASE + SECOND)
        if found:
            self.take_back()
            self.claim(self.dispatchers[which - 1], 4)
        if back and not dead:
            self.see_through(dispatcher, late)

    @precondition(lambda self: self.expired())
    @rule()
    def leases_that_ran_out_are_found(self) -> None:
        self.take_back()

    def expired(self) -> list[Row]:
        return [
            row
            for row in self.rows.values()
            if row.lease_until and row.status in IN_FLIGHT and row.lease_until < self.time
        ]

    @rule(how_long=st.sampled_from([MINUTE, 4 * MINUTE, 20 * MINUTE, 300 * MINUTE, 1440 * MINUTE]))
    def time_passes(self, how_long: timedelta) -> None:
        self.wait(how_long)

    @precondition(lambda self: not self.set_back)
    @rule(how_far=st.sampled_from([10 * MINUTE, 120 * MINUTE, 1440 * MINUTE]))
    def the_clock_is_set_back(self, how_far: timedelta) -> None:
        self.set_back = how_far
        self.count("set back")

    # ------------------------------------------------------------ rules: planning

    meddlers = st.sampled_from(["none", "none", "claims", "goes on", "changes", "stops"])

    @precondition(lambda self: self.something_to_plan())
    @rule(meddler=meddlers, chosen=chosen, night=st.booleans(), dies=st.booleans())
    def it_is_planned_anew(self, meddler: str, chosen: int, night: bool, dies: bool) -> None:
        """By the night or by a recalculation, with something coming in between."""
        meddling = self.meddling(meddler, chosen)
        if night:
            run_plan(self.engine, self.now, Parameters(method="greedy"), report=meddling)
            self.count("plans")
        else:
            self.recalculate(meddling, dies)
        self.look("plan")

    def recalculate(self, meddling: Callable[[str], None], dies: bool) -> None:
        def written(done: int, total: int) -> None:
            if dies and done < total:
                raise CrashError

        how: dict[str, Any] = {"report": meddling, "written": written}
        try:
            done = self.recalculated(pace=Pace(3), **how)
        except CrashError:
            self.count("recalculations killed")
        else:
            self.count(*(["recalculations"] if done.requests.ids else []))

    def recalculated(self, **how: Any) -> Recalculation:
        given = {"method": "greedy"}
        parameters = recalc_parameters(self.engine, self.now, given)
        return recalc(self.engine, self.now, parameters, **how)

    def look_at_plan(self) -> None:
        """See that the stored plan is sound, unless there are changes that it does not know yet.

        What a dispatcher has given back since, as it was stopped, keeps its slot until it is
        overdue; nothing of its thread is judged before.
        """
        if self.requested:
            return
        unsettled = {
            row.enrollment_id
            for row in self.rows.values()
            if row.id in self.given_back and row.send_at and row.send_at > self.now - GRACE
        }
        found = check(self.engine, self.now).violations
        wrong = found[~found["enrollment_id"].isin(unsettled)].to_dict("records")
        assert wrong == [], wrong
        self.count("sound plans")

    def meddling(self, meddler: str, chosen: int) -> Callable[[str], None]:
        """Do something between the snapshot and the storing of what was planned from it."""
        left = [meddler]

        def report(phase: str) -> None:
            if phase != "store" or not left:
                return
            # What has been stored by now, and is final.
            self.look("plan")
            match left.pop():
                case "claims":
                    self.claim(self.dispatchers[chosen % len(self.dispatchers)], 2)
                case "goes on" if self.attempts():
                    attempts = self.attempts()
                    self.go_on(*attempts[chosen % len(attempts)], None, None)
                case "changes":
                    self.change(CHANGES[chosen % len(CHANGES)], chosen)
                case "stops":
                    self.stop(chosen)

        return report

    @precondition(lambda self: self.overdue())
    @rule()
    def overdue_ones_are_handed_over(self) -> None:
        """An undisturbed recalculation leaves nothing overdue."""
        with self.dispatchers[0].session.begin() as cursor:
            hand_over(cursor, self.now, GRACE)
        done = self.recalculated()
        self.look("plan")
        self.look_at_plan()
        self.count(*(["recalculations"] if done.requests.ids else []))
        assert self.overdue() == [], "still overdue"

    # ------------------------------------------------------------ rules: people

    @precondition(lambda self: self.resolvable())
    @rule(chosen=chosen)
    def an_operator_looks_into_one(self, chosen: int) -> None:
        rows = self.resolvable()
        self.resolve(rows[chosen % len(rows)])

    def resolvable(self) -> list[Row]:
        """Uncertain emails that no dispatcher is about to send, and that left before now."""
        about_to = {
            attempt.claim.email_id for _, attempt in self.attempts() if attempt.stage is Stage.BEGUN
        }
        return [
            row
            for row in self.rows.values()
            if row.status == "uncertain" and row.id not in about_to
            and all(mail.moment <= self.now for mail in self.log.of(row.enrollment_id))
        ]  # fmt: skip

    def resolve(self, row: Row) -> None:
        """Say what the folder of sent messages says."""
        if self.log.has(row.enrollment_id, row.step_id):
            [mail] = [m for m in self.log.of(row.enrollment_id) if m.step_id == row.step_id]
            resolve(self.engine, [row.id], [], self.now, at=mail.moment)
            self.look("resolved as sent")
        else:
            resolve(self.engine, [], [row.id], self.now)
            self.tried[row.id] = 0
            self.not_before.pop(row.id, None)
            self.look("resolved as not sent")
        self.count("resolved")

    @rule(chosen=chosen, kind=st.integers(0, len(CHANGES) - 1))
    def something_is_changed(self, chosen: int, kind: int) -> None:
        self.change(CHANGES[kind], chosen)

    @rule(chosen=chosen)
    def a_mailbox_is_left_just_enough(self, chosen: int) -> None:
        self.leave(self.pick("SELECT id FROM mailboxes", chosen), chosen % 2)

    def leave(self, mailbox_id: int, spare: int) -> None:
        run_sql(self.engine, just_enough(self, mailbox_id, spare))
        self.look("change")

    def change(self, change: Change, chosen: int) -> None:
        run_sql(self.engine, change(self, chosen))
        self.look("change")

    @precondition(lambda self: self.about_to_begin() and self.stopped < MOST_STOPPED)
    @rule(chosen=chosen, statement=st.sampled_from(STOPS))
    def one_is_stopped_before_it_begins(self, chosen: int, statement: str) -> None:
        waiting = self.about_to_begin()
        dispatcher, attempt = waiting[chosen % len(waiting)]
        run_sql(self.engine, statement.format(claim=attempt.claim, now=self.now))
        self.stopped += 1
        self.look("change")
        self.go_on(dispatcher, attempt, None, None)

    def about_to_begin(self) -> list[tuple[Dispatcher, Attempt]]:
        """Emails in hand whose claims hold, and that have not begun to leave."""
        tokens = {
            row.claim_token
            for row in self.rows.values()
            if row.lease_until is not None and row.lease_until > self.time
        }
        return [
            pair
            for pair in self.attempts()
            if pair[1].stage is Stage.CLAIMED and pair[1].claim.token in tokens
        ]

    @precondition(lambda self: self.stopped < MOST_STOPPED)
    @rule(chosen=chosen)
    def a_contact_is_stopped(self, chosen: int) -> None:
        self.stop(chosen)

    def stop(self, chosen: int) -> None:
        contact_id = self.pick("SELECT contact_id FROM enrollments WHERE status = 'active'", chosen)
        if not contact_id:
            return
        stopping = StopContacts([contact_id], "replied" if chosen % 2 else "unsubscribed")
        with self.engine.begin() as connection:
            stop_contacts(connection, stopping, self.now)
        self.stopped += 1
        self.look("stop")

    @precondition(lambda self: not self.ended and len(self.log.accepted) >= FULL_LIFE)
    @rule()
    def all_is_well_again(self) -> None:
        """Without further faults, every contact gets all emails that are due."""
        self.ended = True
        for which in range(len(self.dispatchers)):
            self.die(which)
        self.wait(max(LEASE, self.set_back) + SECOND)
        self.take_back()
        run_sql(self.engine, MENDED)
        self.look("change")
        for row in self.resolvable():
            self.resolve(row)
        for _ in range(MOST_NIGHTS):
            run_plan(self.engine, self.now, Parameters(method="greedy"))
            self.look("plan")
            waiting = [row for row in self.rows.values() if row.status == "pending"]
            if all(row.unplaced_reason in BLOCKED for row in waiting):
                break
            self.look_at_plan()
            self.send_what_is_planned()
        else:
            raise AssertionError(f"not sent after {MOST_NIGHTS} nights: {waiting}")
        self.count("ends")

    def send_what_is_planned(self) -> None:
        """Be there for every slot, until none is left."""
        self.send_due(self.dispatchers[0])
        while any(at > self.now for at in self.planned()):
            self.wait(NEXT_SLOT)
            self.send_due(self.dispatchers[0])


MOST_NIGHTS = 6
MOST_STOPPED = 3
MOST_SLOTS = 6

FULL_LIFE = 8
"""Emails that a run has sent before all may be well again: nothing much happens after that."""

UNTRIED = (Verdict.WITHDRAWN, Verdict.UNREACHABLE, Verdict.MAILBOX, Verdict.FLAWED)
"""Verdicts after which an email is given back with its slot."""

WORDS = {
    Verdict.SENT: "sent",
    Verdict.UNCERTAIN: "uncertain",
    Verdict.TEMPORARY: "postponed",
    Verdict.RECIPIENT: "failed",
    Verdict.REFUSED: "failed",
}

MENDED = """
    UPDATE mailboxes SET status = 'active' WHERE status = 'paused';
    UPDATE mailboxes SET daily_capacity = 1 WHERE daily_capacity = 0;
    UPDATE sequences SET status = 'active'
"""
