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
        Aligned with ``problem.enrollments``. Worked out once for each problem, as whoever plans it,
        checks the plan and stores it asks for the same; its arrays cannot be written to.
    """
    found = _worked_out.get(problem)
    if found is None:
        found = _worked_out[problem] = _progress(problem)
        for values in vars(found).values():
            if isinstance(values, np.ndarray):
                values.flags.writeable = False
    return found


_worked_out: WeakKeyDictionary[Problem, EnrollmentState] = WeakKeyDictionary()


def _progress(problem: Problem) -> EnrollmentState:
    enrollments = problem.enrollments
    count = len(enrollments)
    sequence = pd.Index(problem.sequences["id"]).get_indexer(enrollments["sequence_id"])
    default_zones = problem.sequences["timezone"].to_numpy()[sequence]
    own = enrollments["contact_timezone"].to_numpy()
    zones = np.where(pd.isna(own), default_zones, own)

    steps = problem.live_steps
    ordinal_of_step = steps.groupby("sequence_id").cumcount().to_numpy()
    steps_in_sequence = (
        steps.groupby("sequence_id").size().reindex(problem.sequences["id"], fill_value=0)
    ).to_numpy()

    rows = _occupying_rows(problem, zones)
    known = rows[(rows["enrollment"] >= 0).to_numpy()]
    place = known["enrollment"].to_numpy()

    step_of_row = pd.Index(steps["id"]).get_indexer(known["step_id"])
    live = step_of_row >= 0
    own_sequence = enrollments["sequence_id"].to_numpy()[place]
    live[live] = steps["sequence_id"].to_numpy()[step_of_row[live]] == own_sequence[live]
    ordinal = np.where(live, ordinal_of_step[step_of_row], -1) if len(steps) else step_of_row
    received = np.zeros(count, dtype=np.int64)
    np.bitwise_or.at(received, place[live], np.int64(1) << ordinal[live])

    current = enrollments["current_step_id"].to_numpy()
    current_step = pd.Index(steps["id"]).get_indexer(current)
    is_live = current_step >= 0
    current_ordinal = np.full(count, -1)
    if len(steps):
        current_ordinal[is_live] = ordinal_of_step[current_step[is_live]]
    current_bit = np.where(is_live, np.int64(1) << np.maximum(current_ordinal, 0), 0)
    has_row = np.zeros(count, dtype=bool)
    has_row[place[known["step_id"].to_numpy() == current[place]]] = True
    told_only = (current != NULL) & ~has_row

    # The point reached is the newest received step; rows come sorted by time, so the last one
    # written wins. A current step without a row of its own is newer than any sent row.
    point = np.full(count, -1)
    settled = ~known["status"].isin([*IN_FLIGHT, EmailStatus.UNCERTAIN]).to_numpy()
    point[place[live & settled]] = ordinal[live & settled]
    point[told_only & is_live] = current_ordinal[told_only & is_live]
    point[place[live & ~settled]] = ordinal[live & ~settled]
    received |= current_bit

    everything = (np.int64(1) << steps_in_sequence[sequence].astype(np.int64)) - 1
    passed = (np.int64(1) << (point + 1).astype(np.int64)) - 1
    remaining = everything & ~passed & ~received

    last_sent_day = enrollments["last_sent_day"].to_numpy()
    previous_day = last_sent_day.copy()
    previous_day[place[settled]] = np.maximum(
        known["actual_day"].to_numpy()[settled], last_sent_day[place[settled]]
    )
    in_flight = known["status"].isin(IN_FLIGHT).to_numpy()
    previous_day[place[in_flight]] = known["day"].to_numpy()[in_flight]
    in_flight_at = np.zeros(count, dtype=np.int64)
    in_flight_at[place[in_flight]] = known["time"].to_numpy()[in_flight]

    mailbox_id = np.full(count, NULL)
    of_row = known["mailbox_id"].to_numpy()
    mailbox_id[place[settled]] = of_row[settled]
    bound = enrollments["mailbox_id"].to_numpy()
    mailbox_id = np.where(bound != NULL, bound, mailbox_id)
    held = in_flight & (of_row != NULL)
    mailbox_id[place[held]] = of_row[held]

    uncertain = np.zeros(count, dtype=bool)
    uncertain[place[(known["status"] == EmailStatus.UNCERTAIN).to_numpy()]] = True
    failed = np.zeros(count, dtype=bool)
    emails = problem.scheduled_emails
    failed_ids = emails["enrollment_id"].to_numpy()[
        (emails["status"] == EmailStatus.FAILED).to_numpy()
    ]
    failed[np.isin(enrollments["id"].to_numpy(), failed_ids)] = True

    received_any = (current != NULL) | (last_sent_day != NULL)
    received_any[place] = True
    return EnrollmentState(
        zones=zones,
        remaining=remaining,
        received_any=received_any,
        previous_day=previous_day,
        in_flight_at=in_flight_at,
        mailbox_id=mailbox_id,
        uncertain=uncertain,
        failed=failed,
        rows=_with_first(rows, told_only, last_sent_day),
    )


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


def _with_first(
    rows: pd.DataFrame, received_before_rows: np.ndarray, last_sent_day: np.ndarray
) -> pd.DataFrame:
    """Mark the rows that are the first email of their enrollment."""
    place = rows["enrollment"].to_numpy()
    earliest = ~rows.duplicated("enrollment").to_numpy() & (place >= 0)
    if len(received_before_rows):
        older = (last_sent_day[place] != NULL) & (last_sent_day[place] < rows["actual_day"])
        earliest &= ~(received_before_rows[place] | older.to_numpy())
    return rows.assign(first=earliest)
