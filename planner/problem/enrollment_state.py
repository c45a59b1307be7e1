"""Where each enrollment stands: what it has received, from when its next email waits.

It keeps to steps in flight (io/README.md) and to hard rules One sender, Nothing left out and
Behind a row in flight.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import local_days
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import IN_FLIGHT, OCCUPYING, EmailStatus


@dataclass(frozen=True)
class EnrollmentState:
    """One entry for every enrollment of the problem, in its order.

    Parameters
    ----------
    zones : ndarray of object, shape (enrollments,)
        The time zone in which the enrollment's windows and days are read.
    remaining : ndarray of int64, shape (enrollments,)
        Steps still to be sent, as bits: bit i is the i-th live step of the sequence.
    received_any : ndarray of bool, shape (enrollments,)
        Whether an email has left or is in flight: the next one is a follow-up.
    previous_day : ndarray of int64, shape (enrollments,)
        Day of the newest email, from which the next step's wait runs; `NULL` if none.
    in_flight_at : ndarray of int64, shape (enrollments,)
        Planned time of the email in flight, in microseconds; 0 if none.
    retry_at : ndarray of int64, shape (enrollments,)
        Moment before which an email that was not accepted is not tried again, in microseconds;
        0 if none.
    mailbox_id : ndarray of int64, shape (enrollments,)
        The thread's sender so far; `NULL` if none.
    uncertain, failed : ndarray of bool, shape (enrollments,)
        Whether an email of unknown outcome, or one that failed, stands in the chain.
    rows : DataFrame
        The occupying rows of scheduled_emails, with the enrollment's place ``enrollment`` (-1
        where unknown), the ``day`` they use, the ``time`` they leave, and whether each is the
        ``first`` email of its enrollment.
    """

    zones: np.ndarray
    remaining: np.ndarray
    received_any: np.ndarray
    previous_day: np.ndarray
    in_flight_at: np.ndarray
    retry_at: np.ndarray
    mailbox_id: np.ndarray
    uncertain: np.ndarray
    failed: np.ndarray
    rows: pd.DataFrame


def enrollment_state(problem: Problem) -> EnrollmentState:
    """Work out where every enrollment stands.

    Parameters
    ----------
    problem : Problem
        Enrollments, steps and history.

    Returns
    -------
    EnrollmentState
        Aligned with ``problem.enrollments``; worked out once for each problem, and read-only.
    """
    found = _known.get(problem)
    if found is None:
        found = _known[problem] = _worked_out(problem)
        for values in vars(found).values():
            if isinstance(values, np.ndarray):
                values.flags.writeable = False
    return found


_known: WeakKeyDictionary[Problem, EnrollmentState] = WeakKeyDictionary()


def _worked_out(problem: Problem) -> EnrollmentState:
    people = problem.enrollments
    count = len(people)
    sequence = pd.Index(problem.sequences["id"]).get_indexer(people["sequence_id"])
    own = people["contact_timezone"].to_numpy()
    zones = np.where(pd.isna(own), problem.sequences["timezone"].to_numpy()[sequence], own)
    rows = _occupying_rows(problem, zones)
    known = rows[(rows["enrollment"] >= 0).to_numpy()]
    place = known["enrollment"].to_numpy()
    in_flight = known["status"].isin(IN_FLIGHT).to_numpy()
    uncertain = (known["status"] == EmailStatus.UNCERTAIN).to_numpy()
    settled = ~in_flight & ~uncertain

    current = people["current_step_id"].to_numpy()
    recorded = _marked(count, place[known["step_id"].to_numpy() == current[place]])
    rowless = (current != NULL) & ~recorded

    last_sent_day = people["last_sent_day"].to_numpy()
    previous_day = last_sent_day.copy()
    previous_day[place[settled]] = np.maximum(
        known["actual_day"].to_numpy()[settled], last_sent_day[place[settled]]
    )
    previous_day[place[in_flight]] = known["day"].to_numpy()[in_flight]
    in_flight_at = np.zeros(count, dtype=np.int64)
    in_flight_at[place[in_flight]] = known["time"].to_numpy()[in_flight]

    mailbox_id = np.full(count, NULL)
    of_row = known["mailbox_id"].to_numpy()
    mailbox_id[place[settled]] = of_row[settled]
    bound = people["mailbox_id"].to_numpy()
    mailbox_id = np.where(bound != NULL, bound, mailbox_id)
    held = in_flight & (of_row != NULL)
    mailbox_id[place[held]] = of_row[held]

    emails = problem.scheduled_emails
    failed = emails["enrollment_id"][(emails["status"] == EmailStatus.FAILED).to_numpy()]
    return EnrollmentState(
        zones=zones,
        remaining=_remaining(problem, sequence, known, settled, rowless),
        received_any=(current != NULL) | (last_sent_day != NULL) | _marked(count, place),
        previous_day=previous_day,
        in_flight_at=in_flight_at,
        retry_at=_retries(problem),
        mailbox_id=mailbox_id,
        uncertain=_marked(count, place[uncertain]),
        failed=people["id"].isin(failed).to_numpy(),
        rows=_with_first(rows, rowless, last_sent_day),
    )


def _marked(count: int, place: np.ndarray) -> np.ndarray:
    """Return flags of enrollments, true at some places."""
    flags = np.zeros(count, dtype=bool)
    flags[place] = True
    return flags


def _remaining(
    problem: Problem,
    sequence: np.ndarray,
    known: pd.DataFrame,
    settled: np.ndarray,
    rowless: np.ndarray,
) -> np.ndarray:
    """Return the steps still to be sent, as bits: neither received nor before the newest received.

    Parameters
    ----------
    problem, sequence
        Steps, and the place of each enrollment's sequence.
    known : DataFrame
        Occupying rows of the enrollments, by time.
    settled : ndarray of bool, shape (rows,)
        Whether the email of a row has left for certain.
    rowless : ndarray of bool, shape (enrollments,)
        Whether the current step has no row of its own.
    """
    steps, people = problem.live_steps, problem.enrollments
    place, index = known["enrollment"].to_numpy(), pd.Index(steps["id"])
    # The last entry stands for steps that are not live, whose index is -1.
    ordinal_of = np.append(steps.groupby("sequence_id").cumcount(), -1).astype(np.int64)
    step = index.get_indexer(known["step_id"])
    of_sequence = people["sequence_id"].to_numpy()[place]
    live = np.append(steps["sequence_id"], NULL)[step] == of_sequence
    ordinal = ordinal_of[step]
    received = np.zeros(len(people), dtype=np.int64)
    np.bitwise_or.at(received, place[live], np.int64(1) << ordinal[live])
    current = ordinal_of[index.get_indexer(people["current_step_id"])]
    received |= np.where(current >= 0, np.int64(1) << np.maximum(current, 0), 0)

    # The point reached is the newest received step; rows come sorted by time, so the last one
    # written wins. A current step without a row of its own is newer than any sent row.
    point = np.full(len(people), -1)
    point[place[live & settled]] = ordinal[live & settled]
    point[rowless & (current >= 0)] = current[rowless & (current >= 0)]
    point[place[live & ~settled]] = ordinal[live & ~settled]

    steps_of = steps.groupby("sequence_id").size().reindex(problem.sequences["id"], fill_value=0)
    everything = (np.int64(1) << steps_of.to_numpy()[sequence].astype(np.int64)) - 1
    passed = (np.int64(1) << (point + 1).astype(np.int64)) - 1
    return np.asarray(everything & ~passed & ~received)


def _retries(problem: Problem) -> np.ndarray:
    """Return the moment before which each enrollment's pending emails are not tried again."""
    emails = problem.scheduled_emails
    waits = (emails["status"] == EmailStatus.PENDING) & (emails["retry_at"] != NULL)
    rows = emails[waits.to_numpy()]
    place = pd.Index(problem.enrollments["id"]).get_indexer(rows["enrollment_id"])
    known = place >= 0
    retry_at = np.zeros(len(problem.enrollments), dtype=np.int64)
    np.maximum.at(retry_at, place[known], rows["retry_at"].to_numpy()[known])
    return retry_at


def _occupying_rows(problem: Problem, zones: np.ndarray) -> pd.DataFrame:
    """Return rows that use up capacity, by time, with the day and moment that they use."""
    emails = problem.scheduled_emails
    rows = emails[emails["status"].isin(OCCUPYING).to_numpy()].reset_index(drop=True)
    place = pd.Index(problem.enrollments["id"]).get_indexer(rows["enrollment_id"])
    sent_at, send_at = rows["sent_at"].to_numpy(), rows["send_at"].to_numpy()
    time = np.where(sent_at != NULL, sent_at, send_at)
    time = np.where(time != NULL, time, problem.now)
    own_zone = np.where(place >= 0, zones[place] if len(zones) else "UTC", "UTC")
    actual_day = local_days(time, own_zone)
    send_day = rows["send_day"].to_numpy()
    rows = rows.assign(
        enrollment=place,
        time=time,
        actual_day=actual_day,
        day=np.where(send_day != NULL, send_day, actual_day),
    )
    return rows.sort_values(["time", "step_id"], kind="stable", ignore_index=True)


def _with_first(rows: pd.DataFrame, rowless: np.ndarray, last_sent_day: np.ndarray) -> pd.DataFrame:
    """Mark the rows that are the first email of their enrollment."""
    place = rows["enrollment"].to_numpy()
    earliest = ~rows.duplicated("enrollment").to_numpy() & (place >= 0)
    if len(rowless):
        older = (last_sent_day[place] != NULL) & (last_sent_day[place] < rows["actual_day"])
        earliest &= ~(rowless[place] | older.to_numpy())
    return rows.assign(first=earliest)
