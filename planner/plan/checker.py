"""The checker: every hard rule, checked on the finished plan without a solver.

It starts from the frames and the slots, and shares with the methods only the calendar and the
reading of history (`dates`, `enrollment_state`). Each rule is one function that returns its
breaches; `violations` is their table of contents.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.plan.plan import SENDS
from sendplan.planner.problem.enrollment_state import EnrollmentState, enrollment_state
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.dates import SECOND, SendingDays
from sendplan.planner.schema.readers import NULL, microseconds
from sendplan.planner.schema.vocabulary import (
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
    WaitUnit,
)

COLUMNS = ("rule", "enrollment_id", "step_id", "mailbox_id", "send_day", "send_at", "detail")


def violations(problem: Problem, sends: pd.DataFrame, *, one_a_day: bool = True) -> pd.DataFrame:
    """Check slots against every hard rule.

    Parameters
    ----------
    problem : Problem
        The problem, as of its moment.
    sends : DataFrame
        Slots with the columns of ``Plan.sends``; position may be left out.
    one_a_day : bool
        Whether a contact may get one email a day at most.

    Returns
    -------
    DataFrame
        One row for each breach: rule, the slot, and a sentence that says what is wrong; empty
        for a sound plan. Rules: ``unknown``, ``twice``, ``idle``, ``capacity``, ``gap``,
        ``order``, ``retry``, ``ready``, ``window``, ``past``, ``pool``, ``thread``, ``contact``,
        ``new``.

    Raises
    ------
    ValueError
        If a column of `sends` is missing.
    """
    missing = [name for name in SENDS if name != "position" and name not in sends.columns]
    if missing:
        raise ValueError(f"sends lacks the columns {', '.join(missing)}; pass Plan.sends")
    slots, lost = _slots(problem, sends)
    case = _Case(problem, enrollment_state(problem), slots)
    found = [frame for frame in _breaches(case, one_a_day) if len(frame)]
    return pd.concat([lost, *found], ignore_index=True)


def _breaches(case: "_Case", one_a_day: bool) -> Iterator[pd.DataFrame]:
    yield case.broken("twice", case.slots.duplicated(["enrollment_id", "step_id"]), "planned twice")
    yield from _idle(case)
    yield from _capacity(case)
    yield from _gap(case)
    yield from _order(case)
    yield from _window(case)
    yield from _pool(case)
    yield from _thread(case)
    if one_a_day:
        yield from _contact(case)
    yield from _new(case)


_NOTHING = pd.DataFrame()


@dataclass(frozen=True)
class _Case:
    """The slots and what they are checked against.

    `slots` carries, besides the columns of sends, the places ``enrollment``, ``step``,
    ``sequence`` and ``mailbox`` in the problem's frames, ``day`` and ``at`` as integers, and is
    sorted by enrollment and position.
    """

    problem: Problem
    state: EnrollmentState
    slots: pd.DataFrame

    def broken(self, rule: str, mask: pd.Series | np.ndarray, detail: str) -> pd.DataFrame:
        """Return the slots under `mask` as breaches of a rule."""
        if not np.asarray(mask, dtype=bool).any():
            return _NOTHING
        rows = self.slots.loc[np.asarray(mask, dtype=bool), list(COLUMNS[1:-1])]
        return rows.assign(rule=rule, detail=detail)[list(COLUMNS)]

    def of_sequence(self, column: str) -> np.ndarray:
        """Return a column of the slots' sequences."""
        values = self.problem.sequences[column].to_numpy()
        return np.asarray(values[self.slots["sequence"].to_numpy()])

    @property
    def zone(self) -> np.ndarray:
        """The time zone of each slot."""
        return np.asarray(self.state.zones[self.slots["enrollment"].to_numpy()])

    @property
    def leads(self) -> np.ndarray:
        """Whether each slot is the first of its enrollment among the slots."""
        return ~self.slots.duplicated("enrollment").to_numpy()

    @property
    def is_first(self) -> np.ndarray:
        """Whether each slot is the first email that its enrollment gets."""
        received = self.state.received_any[self.slots["enrollment"].to_numpy()]
        return np.asarray(self.leads & ~received)


def _slots(problem: Problem, sends: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the known slots with their places, and the unknown ones as breaches."""
    steps = problem.live_steps
    slots = pd.DataFrame(
        {
            "enrollment_id": sends["enrollment_id"].to_numpy(dtype=np.int64),
            "step_id": sends["step_id"].to_numpy(dtype=np.int64),
            "mailbox_id": sends["mailbox_id"].to_numpy(dtype=np.int64),
            "send_day": pd.to_datetime(sends["send_day"]).to_numpy(),
            "send_at": pd.to_datetime(sends["send_at"], utc=True).array,
        }
    )
    slots["enrollment"] = pd.Index(problem.enrollments["id"]).get_indexer(slots["enrollment_id"])
    slots["step"] = pd.Index(steps["id"]).get_indexer(slots["step_id"])
    slots["mailbox"] = pd.Index(problem.mailboxes["id"]).get_indexer(slots["mailbox_id"])
    slots["day"] = slots["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    slots["at"] = microseconds(slots["send_at"])
    known = (slots[["enrollment", "step", "mailbox"]] >= 0).all(axis=1).to_numpy()
    sequence_id = problem.enrollments["sequence_id"].to_numpy()
    own = known.copy()
    own[known] = (
        sequence_id[slots["enrollment"].to_numpy()[known]]
        == steps["sequence_id"].to_numpy()[slots["step"].to_numpy()[known]]
    )
    lost = slots.loc[~own, list(COLUMNS[1:-1])].assign(
        rule="unknown",
        detail="enrollment, step or mailbox is unknown, removed or of another sequence",
    )[list(COLUMNS)]
    slots = slots[own].copy()
    slots["sequence"] = pd.Index(problem.sequences["id"]).get_indexer(
        sequence_id[slots["enrollment"].to_numpy()]
    )
    position = steps["position"].to_numpy()[slots["step"].to_numpy()]
    order = np.lexsort((position, slots["enrollment"]))
    return slots.assign(position=position).iloc[order].reset_index(drop=True), lost


def _idle(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rules Not planned, Nothing left out, Behind a row in flight: only what is due."""
    problem, state, slots = case.problem, case.state, case.slots
    enrollment = slots["enrollment"].to_numpy()
    enrollments = problem.enrollments
    for mask, detail in (
        (enrollments["status"] != EnrollmentStatus.ACTIVE, "the enrollment is not active"),
        (enrollments["suppressed_at"] != NULL, "the contact is suppressed"),
        (state.failed, "an earlier email of the enrollment failed"),
        (state.uncertain, "the fate of an earlier email is uncertain"),
    ):
        yield case.broken("idle", np.asarray(mask)[enrollment], detail)
    yield case.broken(
        "idle", case.of_sequence("status") != SequenceStatus.ACTIVE, "the sequence is paused"
    )
    ordinal = problem.live_steps.groupby("sequence_id").cumcount().to_numpy()
    bit = np.int64(1) << ordinal[slots["step"].to_numpy()]
    due = (state.remaining[enrollment] & bit) != 0
    yield case.broken("idle", ~due, "the contact has received this step or passed it")
    # Emails to come are sent without leaving one out.
    following = np.zeros(len(slots), dtype=bool)
    earlier = state.remaining[enrollment] & (bit - 1)
    sent = slots.assign(bit=bit).groupby("enrollment")["bit"].cumsum().to_numpy() - bit
    following[:] = due & ((earlier & ~sent) != 0)
    yield case.broken("order", following, "an earlier step has no slot")


def _capacity(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule Capacity: emails of a mailbox with one send_day, those that left included."""
    problem, slots = case.problem, case.slots
    mailboxes = problem.mailboxes
    rows = case.state.rows
    used = (
        pd.concat(
            [
                rows[["mailbox_id", "day"]].assign(used=1),
                problem.used.rename(columns={"send_day": "day"}),
            ]
        )
        .groupby(["mailbox_id", "day"])["used"]
        .sum()
    )
    key = pd.MultiIndex.from_frame(slots[["mailbox_id", "day"]])
    before = used.reindex(key).fillna(0).to_numpy()
    number = slots.groupby(["mailbox_id", "day"]).cumcount().to_numpy() + 1
    mailbox = mailboxes.iloc[slots["mailbox"].to_numpy()]
    limit = mailbox["daily_capacity"].to_numpy().copy()
    ramps = ((mailbox["ramp_from"] != NULL) & (mailbox["ramp_start"] != NULL)).to_numpy()
    step = mailbox["ramp_increment"].where(mailbox["ramp_increment"] != NULL, 0).to_numpy()
    since = np.maximum(slots["day"].to_numpy() - mailbox["ramp_from"].to_numpy(), 0)
    ramp = mailbox["ramp_start"].to_numpy() + step * np.where(ramps, since, 0)
    limit[ramps] = np.minimum(limit, ramp)[ramps]
    yield case.broken("capacity", before + number > limit, "the mailbox-day is over capacity")


def _gap(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule Capacity: two emails of a mailbox are never closer than min_gap_seconds."""
    mailboxes = case.problem.mailboxes
    spaced = mailboxes["id"].to_numpy()[mailboxes["min_gap_seconds"].to_numpy() > 0]
    rows = case.state.rows
    moments = pd.concat(
        [
            case.slots[["mailbox_id", "at"]].assign(slot=np.arange(len(case.slots))),
            rows[["mailbox_id", "time"]].rename(columns={"time": "at"}).assign(slot=-1),
        ],
        ignore_index=True,
    )
    moments = moments[moments["mailbox_id"].isin(spaced)].sort_values(["mailbox_id", "at"])
    gap = mailboxes.set_index("id")["min_gap_seconds"].reindex(moments["mailbox_id"]).to_numpy()
    at, mailbox = moments["at"].to_numpy(), moments["mailbox_id"].to_numpy()
    slot = moments["slot"].to_numpy()
    close = (mailbox[1:] == mailbox[:-1]) & (at[1:] - at[:-1] < gap[1:] * SECOND)
    # Between two emails that have left nothing can be changed.
    close &= (slot[1:] >= 0) | (slot[:-1] >= 0)
    broken = np.zeros(len(case.slots), dtype=bool)
    broken[np.where(slot[1:] >= 0, slot[1:], slot[:-1])[close]] = True
    yield case.broken("gap", broken, "closer than min_gap_seconds to another email of the mailbox")


def _order(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule Step order: steps in order of position, each on or after its ready day."""
    slots, state = case.slots, case.state
    enrollment = slots["enrollment"].to_numpy()
    day, at, leads = slots["day"].to_numpy(), slots["at"].to_numpy(), case.leads
    before_at = np.where(leads, state.in_flight_at[enrollment], np.roll(at, 1))
    yield case.broken("order", at < before_at, "it leaves before the step before it")
    early = leads & (at < state.retry_at[enrollment])
    yield case.broken("retry", early, "it leaves before it may be tried again")

    enrollments = case.problem.enrollments
    previous = np.where(leads, state.previous_day[enrollment], np.roll(day, 1))
    enrolled_at = enrollments["enrolled_at"].to_numpy()[enrollment]
    enrolled = _local_days(case.zone, enrolled_at)
    closed = enrolled_at >= _instants(case, enrolled, "end_time")
    follows = ~leads | state.received_any[enrollment]
    begin = np.where(previous == NULL, enrolled + closed, previous)
    ready = np.where(follows, _ready(case, begin), begin)
    yield case.broken("ready", day < ready, "it leaves before its ready day")


def _ready(case: _Case, previous: np.ndarray) -> np.ndarray:
    """Return the earliest day that the wait allows, not yet moved to a sending day."""
    wait = case.problem.live_steps["wait_days"].to_numpy()[case.slots["step"].to_numpy()]
    ready = np.asarray(previous + wait)
    counted = (case.of_sequence("wait_unit") == WaitUnit.SENDING) & (wait > 0)
    sequence = case.slots["sequence"].to_numpy()
    for place in np.unique(sequence[counted]):
        here = counted & (sequence == place)
        low, high = int(previous[here].min()), int(case.slots["day"].to_numpy()[here].max())
        calendar = _calendar(case.problem, place, low, max(high, low))
        days = calendar.first + np.flatnonzero(calendar.sends)
        at = np.searchsorted(days, previous[here], side="right") + wait[here] - 1
        # A wait that ends beyond the last slot is over on no day that occurs here.
        ready[here] = np.append(days, calendar.last + 1)[np.minimum(at, len(days))]
    return ready


def _window(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule Window: within the window of a sending day, and not in the past."""
    slots, problem = case.slots, case.problem
    day, at = slots["day"].to_numpy(), slots["at"].to_numpy()
    opens, closes = _instants(case, day, "start_time"), _instants(case, day, "end_time")
    yield case.broken("window", (at < opens) | (at >= closes), "outside the window of its day")
    sequence = slots["sequence"].to_numpy()
    closed = np.zeros(len(slots), dtype=bool)
    for place in np.unique(sequence):
        here = sequence == place
        calendar = _calendar(problem, place, int(day[here].min()), int(day[here].max()))
        closed[here] = ~calendar.sends[day[here] - calendar.first]
    yield case.broken("window", closed, "its day is no sending day of the sequence")
    yield case.broken("past", at < problem.now, "it lies in the past")
    yield case.broken("window", at % SECOND != 0, "send_at is not in whole seconds")


def _pool(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule Pool: the mailbox is active and linked to the sequence."""
    problem, slots = case.problem, case.slots
    status = problem.mailboxes["status"].to_numpy()[slots["mailbox"].to_numpy()]
    yield case.broken("pool", status != MailboxStatus.ACTIVE, "the mailbox is not active")
    yield case.broken("pool", ~_linked(case, slots["mailbox_id"]), "the mailbox is not linked")


def _linked(case: _Case, mailbox_id: pd.Series | np.ndarray) -> np.ndarray:
    links = pd.MultiIndex.from_frame(case.problem.sequence_mailboxes)
    pairs = pd.MultiIndex.from_arrays([case.of_sequence("id"), mailbox_id])
    return pairs.isin(links)


def _thread(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule One sender: one mailbox a thread; only a removed or unlinked one is replaced."""
    slots, state = case.slots, case.state
    mailbox = slots["mailbox_id"].to_numpy()
    changes = ~case.leads & (mailbox != np.roll(mailbox, 1))
    yield case.broken("thread", changes, "the thread changes its mailbox")
    bound = state.mailbox_id[slots["enrollment"].to_numpy()]
    mailboxes = case.problem.mailboxes.set_index("id")["status"]
    stays = (mailboxes.reindex(bound).to_numpy() != MailboxStatus.REMOVED) & _linked(case, bound)
    other = (bound != NULL) & stays & (mailbox != bound)
    yield case.broken("thread", other, "the thread is bound to another mailbox")


def _contact(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule One a day: one email a day per contact, over all its enrollments."""
    contact_id = case.problem.enrollments["contact_id"].to_numpy()
    alone = -1 - np.arange(len(contact_id))
    contact = np.where(contact_id == NULL, alone, contact_id)
    rows = case.state.rows[(case.state.rows["enrollment"] >= 0).to_numpy()]
    elsewhere = case.problem.contact_days
    had = pd.MultiIndex.from_arrays(
        [
            np.append(contact[rows["enrollment"].to_numpy()], elsewhere["contact_id"]),
            np.append(rows["day"], elsewhere["send_day"]),
        ]
    )
    key = pd.DataFrame(
        {"contact": contact[case.slots["enrollment"].to_numpy()], "day": case.slots["day"]}
    )
    yield case.broken("contact", key.duplicated(), "the contact has another email that day")
    again = pd.MultiIndex.from_frame(key).isin(had)
    yield case.broken("contact", again, "the contact was sent an email that day")


def _new(case: _Case) -> Iterator[pd.DataFrame]:
    """Hard rule New per day: at most max_new_per_day first emails of a sequence a day."""
    limit = case.of_sequence("max_new_per_day")
    rows = case.state.rows[case.state.rows["first"].to_numpy()]
    sequence_id = case.problem.enrollments["sequence_id"].to_numpy()
    had = (
        pd.Series(1, index=rows.index)
        .groupby([sequence_id[rows["enrollment"].to_numpy()], rows["day"].to_numpy()])
        .sum()
    )
    key = pd.DataFrame({"sequence": case.of_sequence("id"), "day": case.slots["day"]})
    first = case.is_first
    number = first.astype(int)
    number = pd.Series(number).groupby([key["sequence"], key["day"]]).cumsum().to_numpy()
    before: np.ndarray = np.zeros(len(key))
    if len(had):
        before = had.reindex(pd.MultiIndex.from_frame(key)).fillna(0).to_numpy()
    over = first & (limit != NULL) & (before + number > limit)
    yield case.broken("new", over, "more first emails that day than max_new_per_day")


def _calendar(problem: Problem, place: int, first: int, last: int) -> SendingDays:
    row = problem.sequences.iloc[place]
    days_off = problem.days_off_of(row["id"])
    return SendingDays(row["send_days"], row["holidays"], first, last, days_off)


def _instants(case: _Case, days: np.ndarray, column: str) -> np.ndarray:
    """Return the instant of a sequence's time of day on each slot's local date."""
    seconds, zone = case.of_sequence(column), case.zone
    keys = pd.DataFrame({"zone": zone, "seconds": seconds, "day": days})
    distinct = keys.drop_duplicates()
    parts = [
        group.assign(
            instant=dates.instants_at(
                group["day"].to_numpy(), int(group["seconds"].iloc[0]), str(zone_)
            )
        )
        for (zone_, _), group in distinct.groupby(["zone", "seconds"])
    ]
    if not parts:
        return np.zeros(0, dtype=np.int64)
    return keys.merge(pd.concat(parts), how="left")["instant"].to_numpy()


def _local_days(zone: np.ndarray, instants: np.ndarray) -> np.ndarray:
    result = np.zeros(len(instants), dtype=np.int64)
    codes, names = pd.factorize(zone)
    for code, name in enumerate(names):
        here = codes == code
        result[here] = dates.local_days(instants[here], name)
    return result
