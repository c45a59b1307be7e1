"""The instance to plan, as arrays: chains, their emails, and all that bounds them.

All days are indices of the problem's `Horizon`.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendplan.planner.model.mailbox_capacity import UNLIMITED, MailboxCapacity, fleet_of
from sendplan.planner.model.stages import NONE, Stages, calendars_of, first_steps, stages_of
from sendplan.planner.model.windows import Windows, windows_of
from sendplan.planner.problem.enrollment_state import EnrollmentState, enrollment_state
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema import dates
from sendplan.planner.schema.dates import SendingDays
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import (
    EnrollmentStatus,
    MailboxStatus,
    Reason,
    SequenceStatus,
)


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
        Microsecond from which an email in flight, or a refusal for now, lets the next one leave.
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
        Day on the ideal timeline (the objective).
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
class Instance:
    """Everything that a method needs to place emails.

    Parameters
    ----------
    problem : Problem
        The problem.
    stages, chains, emails, windows, fleet
        Its arrays, see there.
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
    fleet: MailboxCapacity
    new_used: np.ndarray
    new_limit: np.ndarray
    contact_days: pd.DataFrame
    blocked: pd.DataFrame

    @property
    def priority(self) -> np.ndarray:
        """Priority of each stage's sequence; ndarray of float, shape (stages,)."""
        return np.asarray(self.problem.sequences["priority"].to_numpy()[self.stages.sequence])

    def sends(self) -> np.ndarray:
        """Tell on which days a mailbox's sequences may send; bool, of shape (mailboxes, days)."""
        stages = self.stages
        result = np.zeros((len(self.fleet.gap), stages.sends.shape[1]), dtype=bool)
        for sequence, stage in zip(*np.unique(stages.sequence, return_index=True), strict=True):
            result[self.fleet.pools[sequence]] |= stages.sends[stage]
        return result


def build_instance(problem: Problem) -> Instance:
    """Turn a problem into arrays.

    Parameters
    ----------
    problem : Problem
        Validated frames.

    Returns
    -------
    Instance
        Chains sorted by enrolment, so that a stable sort keeps older enrolments first.
    """
    state = enrollment_state(problem)
    enrollments = problem.enrollments
    sequence = pd.Index(problem.sequences["id"]).get_indexer(enrollments["sequence_id"])
    wanted = goes_on(problem, state, sequence) & (state.remaining != 0)
    order = np.lexsort((enrollments["id"], enrollments["enrolled_at"]))
    order = order[wanted[order]]
    window_of, windows = windows_of(problem, state, sequence, order)
    calendars = calendars_of(problem, state, order)
    stage_of, stages = stages_of(problem, state, sequence, order, calendars)
    fleet = fleet_of(problem, state)
    mailbox, reason = _threads(problem, state, sequence, order, fleet)
    ready = _first_ready(
        problem, state, sequence, order, windows, window_of, calendars, stages, stage_of
    )

    free = np.equal(reason, np.array(None, dtype=object))
    within = np.where(free, stages.ready_by(stage_of, ready, problem.horizon.last), 0)
    reason[free] = Reason.BEYOND_HORIZON
    blocked = _blocked(stages, stage_of, order, within, reason)
    free = within > 0
    cut = free & (within < stages.remaining[stage_of])
    if cut.any():
        remaining = state.remaining.copy()
        remaining[order[cut]] = first_steps(remaining[order[cut]], within[cut])
        placeable = replace(state, remaining=remaining)
        stage_of, stages = stages_of(problem, placeable, sequence, order, calendars)
    kept = order[free]
    contact = _contacts(problem)
    chains = Chains(
        enrollment=kept,
        stage=stage_of[free],
        ready=ready[free],
        mailbox=mailbox[free],
        window=window_of[free],
        contact=contact[kept],
        not_before=np.maximum(state.in_flight_at[kept] + 1, state.retry_at[kept]),
        offset=np.append(0, np.cumsum(stages.remaining[stage_of[free]])),
    )
    return Instance(
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
        contact_days=_contact_days(problem, state, contact),
        blocked=blocked,
    )


def goes_on(problem: Problem, state: EnrollmentState, sequence: np.ndarray) -> np.ndarray:
    """Tell which enrollments are sent what they have still to get.

    Those that hard rules Not planned and Behind a row in flight leave out are not.

    Parameters
    ----------
    problem, state
        The enrollments, and where they stand.
    sequence : ndarray of int, shape (enrollments,)
        Place of each enrollment's sequence.

    Returns
    -------
    ndarray of bool, shape (enrollments,)
        False where nothing is to be planned.
    """
    enrollments = problem.enrollments
    return np.asarray(
        (enrollments["status"] == EnrollmentStatus.ACTIVE).to_numpy()
        & (enrollments["suppressed_at"] == NULL).to_numpy()
        & (problem.sequences["status"] == SequenceStatus.ACTIVE).to_numpy()[sequence]
        & ~state.failed
    )


def _threads(
    problem: Problem,
    state: EnrollmentState,
    sequence: np.ndarray,
    order: np.ndarray,
    fleet: MailboxCapacity,
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
    sends = np.append((fleet.capacity > 0).any(axis=1), False)
    pool_sends = np.array([sends[pool].any() for pool in fleet.pools], dtype=bool)
    starts_none = (problem.sequences["max_new_per_day"] == 0).to_numpy()

    reason = np.full(len(order), None, dtype=object)
    if len(order):
        of_order = sequence[order]
        reason[~np.where(keeps, sends[place], pool_sends[of_order])] = Reason.NO_CAPACITY
        reason[starts_none[of_order] & ~state.received_any[order]] = Reason.NO_NEW_CONTACTS
        reason[~keeps & ~has_pool[of_order]] = Reason.NO_ACTIVE_MAILBOX
    reason[keeps & (status[place] == MailboxStatus.PAUSED)] = Reason.MAILBOX_PAUSED
    reason[state.uncertain[order]] = Reason.BEHIND_UNCERTAIN
    return np.where(keeps, place, NONE), reason


def _first_ready(
    problem: Problem,
    state: EnrollmentState,
    sequence: np.ndarray,
    order: np.ndarray,
    windows: Windows,
    window_of: np.ndarray,
    calendars: list[SendingDays],
    stages: Stages,
    stage_of: np.ndarray,
) -> np.ndarray:
    """Return the ready day (index) of each chain's next email (the calendar)."""
    horizon = problem.horizon
    earliest = windows.first_day[window_of] + horizon.origin
    enrolled_at = problem.enrollments["enrolled_at"].to_numpy()[order]
    enrolled = dates.local_days(enrolled_at, state.zones[order])
    index = np.clip(enrolled - horizon.origin, 0, horizon.last)
    # Before the horizon it makes no difference whether the window had closed.
    enrolled += enrolled_at >= windows.closes[window_of, index]

    previous = state.previous_day[order]
    later = state.received_any[order]
    previous = np.where(previous == NULL, enrolled, previous)
    wait = problem.live_steps["wait_days"].to_numpy()[stages.step[stage_of]]
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
    stages: Stages,
    stage: np.ndarray,
    enrollment: np.ndarray,
    within: np.ndarray,
    reason: np.ndarray,
) -> pd.DataFrame:
    """Return the emails that follow the first `within` of each chain."""
    some = np.flatnonzero(within < stages.remaining[stage]) if len(stage) else stage
    path = stages.path[stage[some]]
    row, column = np.nonzero((path != NONE) & (np.arange(path.shape[1]) >= within[some, None]))
    enrollment, reason = enrollment[some], reason[some]
    return pd.DataFrame(
        {
            "enrollment": enrollment[row],
            "step": stages.step[path[row, column]],
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
    stage = stages.path[chains.stage[chain], order]
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
        priority=priority[stages.sequence[stage]],
        existing_mailbox=mailbox,
        existing_day=np.where((day >= 0) & (day <= horizon.last), day, NONE),
        existing_at=at,
    )


def _existing(
    problem: Problem, chains: Chains, stages: Stages, stage: np.ndarray, chain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slots that an earlier plan gave to the emails."""
    mailbox = np.full(len(chain), NONE)
    day = np.full(len(chain), NONE)
    at = np.full(len(chain), NULL)
    rows = problem.scheduled_emails[has_slot(problem)]
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


def _new_used(problem: Problem, state: EnrollmentState, sequence: np.ndarray) -> np.ndarray:
    rows = state.rows[state.rows["first"].to_numpy()]
    of_row = sequence[rows["enrollment"].to_numpy()]
    return problem.horizon.totals(len(problem.sequences), of_row, rows["day"].to_numpy())


def _contact_days(problem: Problem, state: EnrollmentState, contact: np.ndarray) -> pd.DataFrame:
    horizon = problem.horizon
    rows = state.rows[(state.rows["enrollment"] >= 0).to_numpy()]
    elsewhere = problem.contact_days
    known = pd.Index(problem.enrollments["contact_id"]).duplicated()
    one_each = pd.Index(problem.enrollments["contact_id"].to_numpy()[~known])
    place = one_each.get_indexer(elsewhere["contact_id"])
    of_day = np.append(contact[rows["enrollment"].to_numpy()], contact[~known][place[place >= 0]])
    day = np.append(rows["day"], elsewhere["send_day"].to_numpy()[place >= 0]) - horizon.origin
    within = (day >= 0) & (day <= horizon.last)
    return pd.DataFrame({"contact": of_day[within], "day": day[within]}).drop_duplicates(
        ignore_index=True
    )
