"""The work to plan, as arrays: stages, chains, emails and mailboxes.

A *stage* is a point in a sequence: the tail of steps that are still to be sent. Chains at one
stage are interchangeable but for their ready day and mailbox; with those they form a cohort.
All days are indices of the problem's `Horizon`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner import dates
from sendplan.planner.dates import DAY, SECOND, SendingDays
from sendplan.planner.frames import NULL
from sendplan.planner.problem import Problem
from sendplan.planner.progress import Progress, progress
from sendplan.planner.vocabulary import (
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    Reason,
    SequenceStatus,
)

NONE = -1
"""No mailbox, no day, no stage."""


@dataclass(frozen=True)
class Stages:
    """Tails of sequences; the last index of day tables is the horizon's `beyond`.

    Parameters
    ----------
    sequence, step : ndarray of int, shape (stages,)
        Place of the sequence, and of the next step to be sent among the live steps.
    following : ndarray of int, shape (stages,)
        The stage after that step has been sent, or `NONE`.
    remaining : ndarray of int, shape (stages,)
        Emails still to be sent, this one included.
    is_first : ndarray of bool, shape (stages,)
        Whether the email is the first that its enrollment gets.
    path : ndarray of int, shape (stages, most remaining)
        The stages that a chain runs through, `NONE` past its end.
    ready : ndarray of int, shape (stages, days)
        Ready day of this stage's email, by the day of the email before it.
    sends : ndarray of bool, shape (stages, days)
        Whether the day is a sending day of the sequence.
    """

    sequence: np.ndarray
    step: np.ndarray
    following: np.ndarray
    remaining: np.ndarray
    is_first: np.ndarray
    path: np.ndarray
    ready: np.ndarray
    sends: np.ndarray

    def next_sending_day(self) -> np.ndarray:
        """Return, by stage and day, the first sending day on or after it; shape like `sends`."""
        days = self.sends.shape[1]
        place = np.where(self.sends, np.arange(days), days - 1)
        return np.asarray(np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1])


@dataclass(frozen=True)
class Chains:
    """Enrollments with emails to place, older enrolments first, then by enrollment id.

    Parameters
    ----------
    enrollment : ndarray of int, shape (chains,)
        Place in ``problem.enrollments``.
    stage : ndarray of int, shape (chains,)
        Stage of the next email.
    ready : ndarray of int, shape (chains,)
        Ready day of the next email.
    mailbox : ndarray of int, shape (chains,)
        Place of the mailbox that the thread is bound to, or `NONE`.
    window : ndarray of int, shape (chains,)
        Row of `Windows`.
    contact : ndarray of int, shape (chains,)
        Number of the contact; contacts in several enrollments share it.
    not_before : ndarray of int64, shape (chains,)
        Microsecond after which an email that is in flight lets the next one leave.
    offset : ndarray of int, shape (chains + 1,)
        Where each chain's emails begin in arrays over emails.
    """

    enrollment: np.ndarray
    stage: np.ndarray
    ready: np.ndarray
    mailbox: np.ndarray
    window: np.ndarray
    contact: np.ndarray
    not_before: np.ndarray
    offset: np.ndarray

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.enrollment)


@dataclass(frozen=True)
class Emails:
    """The chains' emails, chain by chain in order of sending.

    Parameters
    ----------
    chain, stage : ndarray of int, shape (emails,)
        The chain, and the stage at which it sends this email.
    order : ndarray of int, shape (emails,)
        Number within the chain, from 0.
    ideal : ndarray of int, shape (emails,)
        Day on the ideal timeline (SPEC §5).
    priority : ndarray of float, shape (emails,)
        Priority of the sequence.
    existing_mailbox, existing_day : ndarray of int, shape (emails,)
        The slot that an earlier plan gave, or `NONE`; a day outside the horizon is `NONE` too.
    existing_at : ndarray of int64, shape (emails,)
        The planned time, or `NULL`.
    """

    chain: np.ndarray
    stage: np.ndarray
    order: np.ndarray
    ideal: np.ndarray
    priority: np.ndarray
    existing_mailbox: np.ndarray
    existing_day: np.ndarray
    existing_at: np.ndarray

    def __len__(self) -> int:
        """Return the number of emails."""
        return len(self.chain)


@dataclass(frozen=True)
class Windows:
    """Daily windows of the sequences, each read in one time zone.

    Parameters
    ----------
    opens, closes : ndarray of int64, shape (windows, days)
        The real interval [opens, closes), in microseconds; no `beyond` column.
    usable : ndarray of bool, shape (windows, days)
        Whether a whole second of it is still ahead.
    first_day : ndarray of int, shape (windows,)
        The first usable day (SPEC §4).
    """

    opens: np.ndarray
    closes: np.ndarray
    usable: np.ndarray
    first_day: np.ndarray


@dataclass(frozen=True)
class Fleet:
    """The mailboxes and what of them is used already.

    Parameters
    ----------
    capacity, used : ndarray of int, shape (mailboxes, days)
        Emails that may leave, ramp included, and emails that have left or are in flight.
    gap : ndarray of int64, shape (mailboxes,)
        min_gap_seconds.
    pools : list of ndarray of int
        Active mailboxes linked to each sequence.
    taken : list of ndarray of int64
        For each mailbox, the sorted moments at which emails have left or are about to.
    planned : ndarray of int, shape (mailboxes, days)
        Slots that an earlier plan gave.
    """

    capacity: np.ndarray
    used: np.ndarray
    gap: np.ndarray
    pools: list[np.ndarray]
    taken: list[np.ndarray]
    planned: np.ndarray


@dataclass(frozen=True)
class Workload:
    """Everything that a method needs to place emails.

    Parameters
    ----------
    problem : Problem
        What was asked.
    stages, chains, emails, windows, fleet
        The work, see there.
    new_used, new_limit : ndarray of int, shape (sequences, days) and (sequences,)
        First emails that have left or are in flight, and the most allowed a day.
    contact_days : DataFrame
        Days already used by contacts of chains: columns contact, day.
    blocked : DataFrame
        Emails that no plan can place: columns enrollment, step (places), reason.
    """

    problem: Problem
    stages: Stages
    chains: Chains
    emails: Emails
    windows: Windows
    fleet: Fleet
    new_used: np.ndarray
    new_limit: np.ndarray
    contact_days: pd.DataFrame
    blocked: pd.DataFrame


UNLIMITED = np.iinfo(np.int32).max // 4


def workload(problem: Problem) -> Workload:
    """Turn a problem into arrays.

    Parameters
    ----------
    problem : Problem
        Validated frames.

    Returns
    -------
    Workload
        Chains sorted by enrolment, so that a stable sort keeps older enrolments first.
    """
    horizon = problem.horizon
    state = progress(problem)
    enrollments = problem.enrollments
    sequence = pd.Index(problem.sequences["id"]).get_indexer(enrollments["sequence_id"])
    wanted = (
        (enrollments["status"] == EnrollmentStatus.ACTIVE).to_numpy()
        & (enrollments["suppressed_at"] == NULL).to_numpy()
        & (problem.sequences["status"] == SequenceStatus.ACTIVE).to_numpy()[sequence]
        & (state.remaining != 0)
        & ~state.failed
    )
    order = np.lexsort((enrollments["id"], enrollments["enrolled_at"]))
    order = order[wanted[order]]
    window_of, windows = _windows(problem, state, sequence, order)
    calendars = _calendars(problem, state, order)
    stage_of, stages = _stages(problem, state, sequence, order, calendars)
    fleet = _fleet(problem, state)
    mailbox, reason = _threads(problem, state, sequence, order, fleet)
    ready = _first_ready(
        problem, state, sequence, order, windows, window_of, calendars, stages, stage_of
    )

    free = np.equal(reason, np.array(None, dtype=object))
    blocked = _blocked(stages, stage_of[~free], order[~free], reason[~free])
    kept = order[free]
    length = stages.remaining[stage_of[free]] if len(kept) else np.zeros(0, dtype=np.int64)
    contact = _contacts(problem)
    chains = Chains(
        enrollment=kept,
        stage=stage_of[free],
        ready=ready[free],
        mailbox=mailbox[free],
        window=window_of[free],
        contact=contact[kept],
        not_before=state.in_flight_at[kept] + 1,
        offset=np.append(0, np.cumsum(length)),
    )
    return Workload(
        problem=problem,
        stages=stages,
        chains=chains,
        emails=_emails(problem, chains, stages),
        windows=windows,
        fleet=fleet,
        new_used=_new_used(problem, state, sequence),
        new_limit=np.where(
            problem.sequences["max_new_per_day"] == NULL,
            UNLIMITED,
            problem.sequences["max_new_per_day"],
        ),
        contact_days=_contact_days(state, contact, horizon),
        blocked=blocked,
    )


def _windows(
    problem: Problem, state: Progress, sequence: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, Windows]:
    horizon = problem.horizon
    days = horizon.origin + np.arange(horizon.last + 1)
    zone_code, zones = pd.factorize(state.zones[order])
    key = sequence[order] * max(len(zones), 1) + zone_code
    keys, window_of = np.unique(key, return_inverse=True)
    instants: dict[tuple[str, int], np.ndarray] = {}

    def at(zone: str, seconds: int) -> np.ndarray:
        if (zone, seconds) not in instants:
            instants[zone, seconds] = dates.instants_at(days, seconds, zone)
        return instants[zone, seconds]

    starts = problem.sequences["start_time"].to_numpy()
    ends = problem.sequences["end_time"].to_numpy()
    opens = np.empty((len(keys), len(days)), dtype=np.int64)
    closes = np.empty_like(opens)
    first_day = np.empty(len(keys), dtype=np.int64)
    for row, pair in enumerate(keys):
        place, zone = pair // len(zones), zones[pair % len(zones)]
        opens[row] = at(zone, int(starts[place]))
        closes[row] = at(zone, int(ends[place]))
        today = int(dates.local_days(np.array([problem.now]), zone)[0]) - horizon.origin
        first_day[row] = today + (problem.now >= closes[row, today])
    earliest = -(-np.maximum(opens, problem.now) // SECOND) * SECOND
    return window_of, Windows(opens, closes, earliest < closes, first_day)


def _calendars(problem: Problem, state: Progress, order: np.ndarray) -> list[SendingDays]:
    """Return the sending days of each sequence, from the oldest day that a wait runs from."""
    horizon = problem.horizon
    previous = state.previous_day[order]
    enrolled = problem.enrollments["enrolled_at"].to_numpy()[order] // DAY - 1
    # Where nobody knows when the step before left, the wait runs from the enrolment.
    begun = np.where(state.received_any[order], enrolled, horizon.origin)
    oldest = np.where(previous != NULL, previous, begun)
    first = int(min(oldest.min(initial=horizon.origin), horizon.origin))
    distinct: dict[tuple[tuple[int, ...], str | None], SendingDays] = {}
    calendars = []
    for weekdays, country in zip(
        problem.sequences["send_days"], problem.sequences["holidays"], strict=True
    ):
        key = (weekdays, country)
        if key not in distinct:
            distinct[key] = SendingDays(weekdays, country, first, horizon.origin + horizon.last)
        calendars.append(distinct[key])
    return calendars


def _stages(
    problem: Problem,
    state: Progress,
    sequence: np.ndarray,
    order: np.ndarray,
    calendars: list[SendingDays],
) -> tuple[np.ndarray, Stages]:
    horizon = problem.horizon
    steps = problem.live_steps
    begins = np.searchsorted(steps["sequence_id"].to_numpy(), problem.sequences["id"].to_numpy())
    keys = pd.DataFrame(
        {
            "sequence": sequence[order],
            "later": state.received_any[order],
            "remaining": state.remaining[order],
        }
    )
    codes, distinct = pd.factorize(pd.MultiIndex.from_frame(keys), sort=True)
    found: dict[tuple[int, bool, int], int] = {}
    tails: list[tuple[int, bool, int]] = []

    def stage_at(place: int, later: bool, mask: int) -> int:
        key = (place, later, mask)
        if key not in found:
            found[key] = len(tails)
            tails.append(key)
        return found[key]

    for place, later, mask in distinct:
        stage_at(int(place), bool(later), int(mask))
    following: list[int] = []
    for place, _later, mask in tails:  # grows while it is walked: each tail adds the next one
        rest = mask & (mask - 1)
        following.append(stage_at(place, True, rest) if rest else NONE)

    count = len(tails)
    lowest = [(mask & -mask).bit_length() - 1 for _, _, mask in tails]
    step = np.array([begins[tails[s][0]] + lowest[s] for s in range(count)], dtype=np.int64)
    remaining = np.array([mask.bit_count() for _, _, mask in tails], dtype=np.int64)
    path = np.full((count, int(remaining.max(initial=1))), NONE)
    path[:, 0] = np.arange(count)
    next_of = np.append(np.array(following, dtype=np.int64), NONE)
    for column in range(1, path.shape[1]):
        path[:, column] = next_of[path[:, column - 1]]

    days = horizon.origin + np.arange(horizon.size)
    waits = steps["wait_days"].to_numpy()
    units = problem.sequences["wait_unit"].to_numpy()
    ready = np.empty((count, horizon.size), dtype=np.int64)
    sends = np.zeros((count, horizon.size), dtype=bool)
    for index, (place, _later, _mask) in enumerate(tails):
        calendar = calendars[place]
        ready[index] = calendar.after_wait(days, waits[step[index]], units[place])
        sends[index, :-1] = calendar.sends[horizon.origin - calendar.first :]
    return codes, Stages(
        sequence=np.array([place for place, _, _ in tails], dtype=np.int64),
        step=step,
        following=next_of[:-1],
        remaining=remaining,
        is_first=np.array([not later for _, later, _ in tails], dtype=bool),
        path=path,
        ready=ready - horizon.origin,
        sends=sends,
    )


def _fleet(problem: Problem, state: Progress) -> Fleet:
    horizon = problem.horizon
    mailboxes = problem.mailboxes
    days = horizon.origin + np.arange(horizon.last + 1)
    ramp_from = mailboxes["ramp_from"].to_numpy()[:, None]
    ramp_start = mailboxes["ramp_start"].to_numpy()[:, None]
    increment = mailboxes["ramp_increment"].to_numpy()[:, None]
    ramps = (ramp_from != NULL) & (ramp_start != NULL)
    growth = np.where(increment == NULL, 0, increment) * np.maximum(days - ramp_from, 0)
    limit = np.where(ramps, ramp_start + growth, UNLIMITED)
    capacity = np.minimum(mailboxes["daily_capacity"].to_numpy()[:, None], limit)

    index = pd.Index(mailboxes["id"])
    used = np.zeros(capacity.shape, dtype=np.int64)
    rows = state.rows
    for mailbox, day, count in (
        (index.get_indexer(rows["mailbox_id"]), rows["day"].to_numpy(), 1),
        (
            index.get_indexer(problem.used["mailbox_id"]),
            problem.used["send_day"].to_numpy(),
            problem.used["used"].to_numpy(),
        ),
    ):
        place = day - horizon.origin
        within = (mailbox >= 0) & (place >= 0) & (place <= horizon.last)
        amount = np.broadcast_to(count, mailbox.shape)[within]
        np.add.at(used, (mailbox[within], place[within]), amount)

    active = (mailboxes["status"] == MailboxStatus.ACTIVE).to_numpy()
    links = problem.sequence_mailboxes.drop_duplicates()
    link_mailbox = index.get_indexer(links["mailbox_id"])
    link_sequence = pd.Index(problem.sequences["id"]).get_indexer(links["sequence_id"])
    pools = [
        np.sort(link_mailbox[(link_sequence == place) & active[link_mailbox]])
        for place in range(len(problem.sequences))
    ]
    row_mailbox = index.get_indexer(rows["mailbox_id"])
    gap = mailboxes["min_gap_seconds"].to_numpy()
    near = rows["time"].to_numpy() > (horizon.origin - 1) * DAY - gap.max(initial=0) * SECOND
    taken = [np.zeros(0, dtype=np.int64)] * len(mailboxes)
    for place in np.unique(row_mailbox[near & (row_mailbox >= 0)]):
        if gap[place] > 0:
            taken[place] = np.sort(rows["time"].to_numpy()[near & (row_mailbox == place)])
    planned = np.zeros_like(used)
    slots = problem.scheduled_emails[_has_slot(problem)]
    box = index.get_indexer(slots["mailbox_id"])
    place = slots["send_day"].to_numpy() - horizon.origin
    within = (box >= 0) & (place >= 0) & (place <= horizon.last)
    np.add.at(planned, (box[within], place[within]), 1)
    return Fleet(np.minimum(capacity, UNLIMITED), used, gap, pools, taken, planned)


def _threads(
    problem: Problem,
    state: Progress,
    sequence: np.ndarray,
    order: np.ndarray,
    fleet: Fleet,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each chain's bound mailbox, and why it is blocked (None where it is not)."""
    mailboxes = problem.mailboxes
    count = len(mailboxes)
    place = pd.Index(mailboxes["id"]).get_indexer(state.mailbox_id[order])
    links = problem.sequence_mailboxes
    linked = np.zeros((len(problem.sequences), count + 1), dtype=bool)
    linked[
        pd.Index(problem.sequences["id"]).get_indexer(links["sequence_id"]),
        pd.Index(mailboxes["id"]).get_indexer(links["mailbox_id"]),
    ] = True
    status = np.append(mailboxes["status"].to_numpy(), np.array([None], dtype=object))
    keeps = (place >= 0) & linked[sequence[order], place] & (status[place] != MailboxStatus.REMOVED)
    has_pool = np.array([len(pool) > 0 for pool in fleet.pools], dtype=bool)

    reason = np.full(len(order), None, dtype=object)
    if len(order):
        reason[~keeps & ~has_pool[sequence[order]]] = Reason.NO_ACTIVE_MAILBOX
    reason[keeps & (status[place] == MailboxStatus.PAUSED)] = Reason.MAILBOX_PAUSED
    reason[state.uncertain[order]] = Reason.BEHIND_UNCERTAIN
    return np.where(keeps, place, NONE), reason


def _first_ready(
    problem: Problem,
    state: Progress,
    sequence: np.ndarray,
    order: np.ndarray,
    windows: Windows,
    window_of: np.ndarray,
    calendars: list[SendingDays],
    stages: Stages,
    stage_of: np.ndarray,
) -> np.ndarray:
    """Return the ready day (index) of each chain's next email (SPEC §4)."""
    horizon = problem.horizon
    earliest = windows.first_day[window_of] + horizon.origin
    enrolled_at = problem.enrollments["enrolled_at"].to_numpy()[order]
    zone_code, zones = pd.factorize(state.zones[order])
    enrolled = np.empty(len(order), dtype=np.int64)
    for code, zone in enumerate(zones):
        here = zone_code == code
        enrolled[here] = dates.local_days(enrolled_at[here], zone)
    index = np.clip(enrolled - horizon.origin, 0, horizon.last)
    # Before the horizon it makes no difference whether the window had closed.
    enrolled += enrolled_at >= windows.closes[window_of, index]

    previous = state.previous_day[order]
    later = state.received_any[order]
    previous = np.where(previous == NULL, enrolled, previous)
    waits = problem.live_steps["wait_days"].to_numpy()
    wait = waits[stages.step[stage_of]] if len(order) else np.zeros(0, dtype=np.int64)
    ready = np.empty(len(order), dtype=np.int64)
    place_of = sequence[order]
    units = problem.sequences["wait_unit"].to_numpy()
    for place in np.unique(place_of):
        here = place_of == place
        calendar = calendars[place]
        behind = calendar.after_wait(previous[here], wait[here], units[place])
        start = np.where(later[here], behind, enrolled[here])
        ready[here] = calendar.on_or_after(np.maximum(start, earliest[here]))
    return ready - horizon.origin


def _blocked(
    stages: Stages, stage: np.ndarray, enrollment: np.ndarray, reason: np.ndarray
) -> pd.DataFrame:
    path = stages.path[stage]
    row, column = np.nonzero(path != NONE)
    return pd.DataFrame(
        {
            "enrollment": enrollment[row],
            "step": stages.step[path[row, column]] if len(row) else row,
            "reason": reason[row],
        }
    )


def _contacts(problem: Problem) -> np.ndarray:
    """Return each enrollment's contact; one without contact_id is a contact of its own."""
    contact = problem.enrollments["contact_id"].to_numpy()
    codes, known = pd.factorize(contact)
    alone = contact == NULL
    codes[alone] = len(known) + np.arange(alone.sum())
    return np.asarray(codes)


def _emails(problem: Problem, chains: Chains, stages: Stages) -> Emails:
    horizon = problem.horizon
    length = np.diff(chains.offset)
    chain = np.repeat(np.arange(len(chains)), length)
    order = np.arange(len(chain)) - np.repeat(chains.offset[:-1], length)
    stage = stages.path[chains.stage[chain], order] if len(chain) else chain
    ideal = np.empty(len(chain), dtype=np.int64)
    ideal[chains.offset[:-1]] = chains.ready
    for number in range(1, int(length.max(initial=0))):
        at = np.flatnonzero(order == number)
        ideal[at] = stages.ready[stage[at], ideal[at - 1]]
    priority = problem.sequences["priority"].to_numpy()
    mailbox, day, at = _existing(problem, chains, stages, stage, chain)
    return Emails(
        chain=chain,
        stage=stage,
        order=order,
        ideal=ideal,
        priority=priority[stages.sequence[stage]] if len(chain) else np.zeros(0),
        existing_mailbox=mailbox,
        existing_day=np.where((day >= 0) & (day <= horizon.last), day, NONE),
        existing_at=at,
    )


def _has_slot(problem: Problem) -> np.ndarray:
    """Tell which rows have a slot that a plan gave; provisional rows have none."""
    rows = problem.scheduled_emails
    slot = (rows["status"] == EmailStatus.PENDING).to_numpy()
    for column in ("plan_run_id", "mailbox_id", "send_day", "send_at"):
        slot = slot & (rows[column] != NULL).to_numpy()
    return slot


def _existing(
    problem: Problem, chains: Chains, stages: Stages, stage: np.ndarray, chain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slots that an earlier plan gave to the emails."""
    mailbox = np.full(len(chain), NONE)
    day = np.full(len(chain), NONE)
    at = np.full(len(chain), NULL)
    rows = problem.scheduled_emails[_has_slot(problem)]
    if not len(rows) or not len(chain):
        return mailbox, day, at
    enrollment = pd.Index(problem.enrollments["id"]).get_indexer(rows["enrollment_id"])
    step = pd.Index(problem.live_steps["id"]).get_indexer(rows["step_id"])
    width = len(problem.live_steps) + 1
    key = chains.enrollment[chain] * width + stages.step[stage]
    by_key = np.argsort(key, kind="stable")
    wanted = np.where((enrollment >= 0) & (step >= 0), enrollment * width + step, NONE)
    place = np.minimum(np.searchsorted(key[by_key], wanted), len(key) - 1)
    email = by_key[place]
    match = key[email] == wanted
    email = email[match]
    mailbox[email] = pd.Index(problem.mailboxes["id"]).get_indexer(rows["mailbox_id"])[match]
    day[email] = rows["send_day"].to_numpy()[match] - problem.horizon.origin
    at[email] = rows["send_at"].to_numpy()[match]
    return mailbox, day, at


def _new_used(problem: Problem, state: Progress, sequence: np.ndarray) -> np.ndarray:
    horizon = problem.horizon
    rows = state.rows[state.rows["first"].to_numpy()]
    day = rows["day"].to_numpy() - horizon.origin
    within = (day >= 0) & (day <= horizon.last)
    used = np.zeros((len(problem.sequences), horizon.last + 1), dtype=np.int64)
    np.add.at(used, (sequence[rows["enrollment"].to_numpy()[within]], day[within]), 1)
    return used


def _contact_days(state: Progress, contact: np.ndarray, horizon: dates.Horizon) -> pd.DataFrame:
    rows = state.rows[(state.rows["enrollment"] >= 0).to_numpy()]
    day = rows["day"].to_numpy() - horizon.origin
    within = (day >= 0) & (day <= horizon.last)
    return pd.DataFrame(
        {"contact": contact[rows["enrollment"].to_numpy()[within]], "day": day[within]}
    ).drop_duplicates(ignore_index=True)
