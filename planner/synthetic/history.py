"""The history of a synthetic instance: the steps received, when and from which mailbox."""

import datetime as dt
from typing import Literal, NamedTuple, Self

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd

from sendplan.planner.model.grouping import rank
from sendplan.planner.schema import dates
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.vocabulary import EmailStatus, EnrollmentStatus, WaitUnit

PROGRESS_DECAY = 0.8
"""Of the contacts in flight, those one step further are this many times as many: some reply."""
ENROLLED_WITHIN_DAYS = 4
"""Days before now in which contacts that have received nothing yet were enrolled."""
LEAD_DAYS = 2
"""Days between an enrolment and its first email, at most."""
LAST_SEND_DAYS = 7
"""Days since the last email of a contact in flight, at most."""

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]
ObjectArray = npt.NDArray[np.object_]
Roll = Literal["forward", "backward"]

_DAY = 86_400_000_000
_HOUR = _DAY // 24


class People(NamedTuple):
    """The enrollments; every array has one entry for each."""

    contact: IntArray
    """Index of the contact."""
    sequence: IntArray
    """Index of the sequence."""
    in_flight: BoolArray
    """Whether anything has been sent."""
    zone: ObjectArray
    """IANA name of the contact's own time zone, or None."""


class _Calendars(NamedTuple):
    """The sending days and windows of all sequences; equal calendars are kept once."""

    kind: IntArray
    days: list[np.busdaycalendar]
    in_sending_days: list[bool]
    opening: IntArray
    closing: IntArray

    @classmethod
    def of(cls, sequences: pd.DataFrame, now: dt.datetime) -> Self:
        keys = [
            (tuple(d), h, u == WaitUnit.SENDING)
            for d, h, u in zip(
                sequences["send_days"], sequences["holidays"], sequences["wait_unit"], strict=True
            )
        ]
        kinds = list(dict.fromkeys(keys))
        years = [now.year - 1, now.year, now.year + 1]
        return cls(
            np.array([kinds.index(key) for key in keys]),
            [
                np.busdaycalendar(
                    [weekday in days for weekday in range(1, 8)],
                    sorted(holidays.country_holidays(code, years=years)) if code else [],
                )
                for days, code, _ in kinds
            ],
            [sending for _, _, sending in kinds],
            _seconds(sequences["start_time"]),
            _seconds(sequences["end_time"]),
        )

    def moved(self, day: TimeArray, sequence: IntArray, roll: Roll) -> TimeArray:
        """Move days that are no sending days to the next one, forward or backward."""
        result = day.copy()
        for k, days in enumerate(self.days):
            mine = self.kind[sequence] == k
            result[mine] = np.busday_offset(day[mine], 0, roll=roll, busdaycal=days)
        return result

    def before(self, day: TimeArray, wait: IntArray, sequence: IntArray) -> TimeArray:
        """Find the last days on which the step before can have left, given the wait since."""
        result = self.moved(day - wait, sequence, "backward")
        for k, days in enumerate(self.days):
            if self.in_sending_days[k]:
                mine = self.kind[sequence] == k
                result[mine] = np.busday_offset(
                    day[mine], -wait[mine], roll="backward", busdaycal=days
                )
        return result


def unfold(
    people: People,
    sequences: pd.DataFrame,
    steps: pd.DataFrame,
    links: pd.DataFrame,
    now: dt.datetime,
    rng: np.random.Generator,
    *,
    provisional: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Invent the sent history of all enrollments in flight.

    Parameters
    ----------
    people
        The enrollments, in any order.
    sequences, steps, links
        Frames as `synthetic` makes them: ids count from 1, steps and links lie by sequence.
    now
        The moment that the instance is planned at; everything sent lies before it.
    rng
        Source of all choices.
    provisional
        Add a provisional row for the first step of contacts that have received nothing.

    Returns
    -------
    enrollments, scheduled_emails : pandas.DataFrame
        Both numbered in the order of time.
    """
    count = len(people.sequence)
    sequence = people.sequence
    step_count = steps.groupby("sequence_id").size().to_numpy(dtype=np.int64)
    first_step = np.cumsum(step_count) - step_count
    wait = steps["wait_days"].to_numpy()
    calendars = _Calendars.of(sequences, now)
    own_zone = people.zone != None  # noqa: E711  (elementwise)
    zone = np.where(own_zone, people.zone, sequences["timezone"].to_numpy(dtype=object)[sequence])
    moment = np.datetime64(now.astimezone(dt.UTC).replace(tzinfo=None), "us")
    right_now = np.full(count, moment.astype(np.int64))
    today = dates.local_days(right_now, zone).astype("datetime64[D]")

    had = np.where(people.in_flight, _steps_had(np.asarray(step_count[sequence]), rng), 0)
    current = first_step[sequence] + had - 1
    mailbox = _bound_mailboxes(sequence, links, rng)

    # The next email falls due within its wait, counted from today: none is late yet.
    next_wait = wait[np.minimum(current + 1, len(wait) - 1)]
    ago = 1 + rng.integers(LAST_SEND_DAYS, size=count) % np.maximum(next_wait, 1)
    last_day = calendars.moved(today - ago, sequence, "backward")
    sent_day = _sent_days(had, current, last_day, wait, sequence, calendars)
    back, row = np.nonzero(~np.isnat(sent_day))
    opening, closing = calendars.opening[sequence], calendars.closing[sequence]
    # A minute is left for the jitter of the actual sending.
    second = opening[row] + (rng.random(len(row)) * (closing - opening - 60)[row]).astype(np.int64)
    slot = _instants(sent_day[back, row], second, zone[row])

    enrolled = moment - _micros(rng.random(count) * ENROLLED_WITHIN_DAYS * _DAY)
    lead = _micros(_HOUR + rng.random(count) * (LEAD_DAYS * _DAY - _HOUR))
    first_email = back == had[row] - 1
    enrolled[row[first_email]] = slot[first_email] - lead[row[first_email]]
    order = np.argsort(enrolled, kind="stable")
    number = np.empty(count, dtype=np.int64)
    number[order] = np.arange(1, count + 1)
    bound = people.in_flight[order]

    enrollments = pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "contact_id": people.contact[order] + 1,
            "sequence_id": sequence[order] + 1,
            "enrolled_at": utc(enrolled[order]),
            "current_step_id": pd.Series(current[order] + 1, dtype="Int64").where(bound),
            "completed_at": no_times(count),
            "mailbox_id": pd.Series(mailbox[order], dtype="Int64").where(bound),
            "status": str(EnrollmentStatus.ACTIVE),
            "stop_reason": np.full(count, None, dtype=object),
            "contact_timezone": pd.Series(people.zone[order], dtype=object),
            "last_sent_day": pd.Series(last_day[order].astype("datetime64[us]")).where(bound),
        }
    )
    sent = pd.DataFrame(
        {
            "enrollment_id": number[row],
            "step_id": current[row] - back + 1,
            "mailbox_id": mailbox[row],
            "send_day": sent_day[back, row].astype("datetime64[us]"),
            "send_at": utc(slot),
            "sent_at": utc(slot + _micros(rng.random(len(row)) * 30e6)),
            "status": str(EmailStatus.SENT),
        }
    ).sort_values(["sent_at", "enrollment_id"], kind="stable")
    if not provisional:
        return enrollments, _emails(sent)

    fresh = order[~bound]
    shut = _instants(today[fresh], closing[fresh], zone[fresh]) <= moment
    ready = calendars.moved(today[fresh] + shut, sequence[fresh], "forward")
    pending = pd.DataFrame(
        {
            "enrollment_id": number[fresh],
            "step_id": first_step[sequence[fresh]] + 1,
            "mailbox_id": _dealt_mailboxes(sequence[fresh], links),
            "send_day": ready.astype("datetime64[us]"),
            "send_at": utc(_instants(ready, opening[fresh], zone[fresh])),
            "sent_at": no_times(len(fresh)),
            "status": str(EmailStatus.PENDING),
        }
    )
    return enrollments, _emails(pd.concat([sent, pending]))


def utc(times: TimeArray) -> pd.Series:
    """Turn naive UTC times into an aware column of microseconds."""
    return pd.Series(pd.DatetimeIndex(times.astype("datetime64[us]")).tz_localize("UTC"))


def no_times(count: int) -> pd.Series:
    """Return an aware column of nulls."""
    return utc(np.full(count, np.datetime64("NaT", "us")))


def _emails(rows: pd.DataFrame) -> pd.DataFrame:
    """Complete rows of ``scheduled_emails`` with ids and the columns nothing is known of."""
    rows = rows.reset_index(drop=True)
    count = len(rows)
    sent = (rows["status"] == EmailStatus.SENT).to_numpy()
    names = [
        f"<{enrollment}.{step}@sendplan.example>" if s else None
        for enrollment, step, s in zip(
            rows["enrollment_id"].tolist(), rows["step_id"].tolist(), sent.tolist(), strict=True
        )
    ]
    rows = rows.assign(
        id=np.arange(1, count + 1),
        plan_run_id=pd.array([None], dtype="Int64").repeat(count),
        unplaced_reason=np.full(count, None, dtype=object),
        attempts=sent.astype(np.int64),
        last_error=np.full(count, None, dtype=object),
        message_id=pd.Series(names, dtype=object),
    )
    return rows[[name for name in COLUMNS["scheduled_emails"] if name in rows]]


def _sent_days(
    had: IntArray,
    current: IntArray,
    last_day: TimeArray,
    wait: IntArray,
    sequence: IntArray,
    calendars: _Calendars,
) -> TimeArray:
    """Go back from the last day sent on; row k is the step k before the last, NaT before step 1."""
    sent_day = np.full((had.max(initial=0), len(had)), np.datetime64("NaT", "D"))
    day = last_day
    for back in range(len(sent_day)):
        sent_day[back] = np.where(had > back, day, np.datetime64("NaT", "D"))
        day = calendars.before(day, wait[np.maximum(current - back, 0)], sequence)
    return sent_day


def _steps_had(step_count: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw how many steps were received, from 1 to all but one: a truncated geometric law."""
    tail = 1 - PROGRESS_DECAY ** (step_count - 1)
    drawn = np.log1p(-rng.random(len(step_count)) * tail) / np.log(PROGRESS_DECAY)
    return np.asarray(1 + drawn.astype(np.int64))


def _pools(sequence: IntArray, links: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """Find where the pools of these sequences start and end in the frame of links."""
    linked = links["sequence_id"].to_numpy() - 1
    return np.searchsorted(linked, sequence), np.searchsorted(linked, sequence, side="right")


def _bound_mailboxes(sequence: IntArray, links: pd.DataFrame, rng: np.random.Generator) -> IntArray:
    """Draw a mailbox of the pool for each enrollment: evenly, whatever its capacity."""
    start, end = _pools(sequence, links)
    drawn = start + (rng.random(len(sequence)) * (end - start)).astype(np.int64)
    return np.asarray(links["mailbox_id"].to_numpy()[drawn])


def _dealt_mailboxes(sequence: IntArray, links: pd.DataFrame) -> IntArray:
    """Deal the mailboxes of each pool out in turn, as enrolling does."""
    start, end = _pools(sequence, links)
    return np.asarray(links["mailbox_id"].to_numpy()[start + rank(sequence) % (end - start)])


def _instants(day: TimeArray, second: IntArray, zone: ObjectArray) -> TimeArray:
    """Turn local days and seconds after midnight into naive UTC times."""
    instants = np.empty(len(day), dtype=np.int64)
    codes, names = pd.factorize(zone)
    for code, name in enumerate(names):
        mine = codes == code
        instants[mine] = dates.instants_at(day[mine].astype(np.int64), second[mine], name)
    return instants.astype("datetime64[us]")


def _seconds(times: pd.Series) -> IntArray:
    return np.array([t.hour * 3600 + t.minute * 60 + t.second for t in times], dtype=np.int64)


def _micros(number: npt.NDArray[np.float64]) -> npt.NDArray[np.timedelta64]:
    return number.astype(np.int64).astype("timedelta64[us]")
