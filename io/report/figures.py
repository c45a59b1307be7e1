"""The figures of a report, computed from its data alone."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sendplan.io.documents.texts import CONTROL
from sendplan.io.report.data import Night, ReportData
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.enrollment_state import enrollment_state
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema import dates
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import BLOCKED, EnrollmentStatus, MailboxStatus
from sendplan.planner.studies.bottlenecks import Bottlenecks, bottlenecks

STANDINGS = (
    "not_started",
    "under_way",
    EnrollmentStatus.COMPLETED,
    EnrollmentStatus.STOPPED,
    EnrollmentStatus.FAILED,
)
"""Progress of a contact in a sequence."""

NOT_PLANNED = "not_planned"
"""Reason of an email that is not planned yet."""

OUTDATED = "outdated"
"""Reason of an email whose slot is no longer valid, or follows one that is not."""

DELAYS = ("0", "1", "2", "3", "4–7", "8–14", "15–28", "29+")
_UPPER_ENDS = (0, 1, 2, 3, 7, 14, 28)

_NOT_SHOWN = re.compile(f"{CONTROL.pattern}|[\ufffe\uffff]")
"""Characters that no name may hold: those that control terminals, or that XML forbids."""

_EMAIL = ["enrollment_id", "step_id"]
_COUNTS = ("emails", "late_follow_ups", "slip_days", "unplaced", "sent")


@dataclass(frozen=True, eq=False)
class Figures:
    """The numbers of a report.

    Parameters
    ----------
    headline : dict
        Totals: emails, contacts, sent, in_hand, finish_day, earliest_finish_day, follow_ups,
        late_follow_ups, slip_days, cost, unplaced, blocked.
    load : DataFrame
        One row for each mailbox and day on which it may send, or does: mailbox_id, send_day,
        emails (planned, sent and in hand) and capacity.
    daily : DataFrame
        By send_day and position (0: a removed step): sent and planned.
    capacity : DataFrame
        By send_day: the capacity of all mailboxes that may send.
    sequences : DataFrame
        One row each: sequence_id, name, status, contacts by progress (`STANDINGS`), sent,
        emails, unplaced, late_follow_ups, slip_days, cost, first_day, finish_day, and
        earliest_finish_day, the last day of the planned emails with unlimited capacity.
    mailboxes : DataFrame
        One row each: mailbox_id, name, status, daily_capacity, sent, emails, capacity and use of
        the plan's days, full_days, finish_day.
    delays : DataFrame
        By days (`DELAYS`): planned emails by days behind the ideal timeline (lateness), and
        planned follow-ups by days behind their ready day (slip).
    unplaced : DataFrame
        By sequence_id, name and reason: emails without a slot.
    bottlenecks : Bottlenecks or None
        Where capacity binds; None if nothing has a slot.
    night : Night or None
        The last run that planned everything.
    queued_changes : int
        Changes that are not yet in the plan.
    slip_weight : float
        What a day of slip costs, in days of lateness.
    as_of : aware datetime
        The moment.
    """

    headline: dict[str, Any]
    load: pd.DataFrame
    daily: pd.DataFrame
    capacity: pd.DataFrame
    sequences: pd.DataFrame
    mailboxes: pd.DataFrame
    delays: pd.DataFrame
    unplaced: pd.DataFrame
    bottlenecks: Bottlenecks | None
    night: Night | None
    queued_changes: int
    slip_weight: float
    as_of: dt.datetime


def figures(data: ReportData) -> Figures:
    """Compute the figures of a report.

    Parameters
    ----------
    data : ReportData
        The data from the tables.

    Returns
    -------
    Figures
        The same for the same data.
    """
    problem, plan = data.problem, data.plan
    instance = build_instance(problem)
    follow_up = _is_follow_up(problem, plan.delays)
    sends = plan.sends.merge(plan.delays.assign(follow_up=follow_up), on=_EMAIL)
    sends["ideal_day"] = sends["send_day"] - pd.to_timedelta(sends["lateness"], unit="D")
    unplaced = _unplaced(problem, plan)
    load = _load(instance, plan)
    return Figures(
        headline={
            "emails": len(plan.sends),
            "contacts": _contacts(problem, plan),
            "sent": int(data.sent["emails"].sum()),
            "in_hand": data.in_hand,
            "finish_day": plan.finish_day,
            "earliest_finish_day": sends["ideal_day"].max().date() if len(sends) else None,
            "follow_ups": int(follow_up.sum()),
            "late_follow_ups": plan.late_follow_ups,
            "slip_days": plan.slip_days,
            "cost": plan.cost,
            "unplaced": len(unplaced),
            "blocked": int(unplaced["reason"].isin(BLOCKED).sum()),
        },
        load=load,
        daily=_daily(data.sent, plan),
        capacity=load.groupby("send_day")["capacity"].sum().reset_index(),
        sequences=_sequences(data, sends, unplaced),
        mailboxes=_mailboxes(data, load),
        delays=_delays(sends),
        unplaced=_unplaced_by_sequence(problem, unplaced),
        bottlenecks=_bottlenecks(data),
        night=data.night,
        queued_changes=data.queued_changes,
        slip_weight=data.parameters.slip_weight,
        as_of=problem.now_at.to_pydatetime(),
    )


def names(frame: pd.DataFrame, column: str, noun: str) -> pd.Series:
    """Return a name for each row, all different and fit for a page.

    Parameters
    ----------
    frame : DataFrame
        With ``id`` and the column.
    column : str
        Where the name stands, if there is one.
    noun : str
        Names rows without a name, with their id.
    """
    given = [
        _NOT_SHOWN.sub("�", name) if isinstance(name, str) and name else f"{noun} {key}"
        for name, key in zip(frame[column], frame["id"], strict=True)
    ]
    named = pd.Series(given, index=frame["id"], dtype=object)
    twice = named.duplicated(keep=False)
    apart = [f"{name} ({noun} {key})" for key, name in named.items()]
    return named.where(~twice, pd.Series(apart, index=named.index, dtype=object))


def _contacts(problem: Problem, plan: Plan) -> int:
    """Count the contacts that get a planned email."""
    contacts = problem.enrollments.set_index("id")["contact_id"].reindex(
        plan.sends["enrollment_id"].unique()
    )
    unknown = contacts == NULL
    return int(contacts[~unknown].nunique() + unknown.sum())


def _is_follow_up(problem: Problem, delays: pd.DataFrame) -> np.ndarray:
    """Tell which rows are no first email of their enrollment; rows come in order of sending."""
    begun = problem.enrollments["id"][enrollment_state(problem).received_any]
    behind = delays.duplicated("enrollment_id") | delays["enrollment_id"].isin(begun)
    return np.asarray(behind)


def _load(instance: Instance, plan: Plan) -> pd.DataFrame:
    """Return the load of each mailbox on each day, from today to the last day of the plan."""
    origin, today = instance.problem.horizon.origin, 1
    size = instance.fleet.capacity.shape[1]
    mailboxes = instance.problem.mailboxes["id"]
    may_send = np.zeros(instance.fleet.capacity.shape, dtype=bool)
    for stage, sequence in enumerate(instance.stages.sequence):
        may_send[instance.fleet.pools[sequence]] |= instance.stages.sends[stage, :size]
    day = plan.sends["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64) - origin
    emails = instance.fleet.used.copy()
    np.add.at(emails, (pd.Index(mailboxes).get_indexer(plan.sends["mailbox_id"]), day), 1)
    last = (plan.horizon_end - dates.to_date(origin)).days
    shown = (may_send & (instance.fleet.capacity > 0)) | (emails > 0)
    # West of Greenwich today may still be yesterday; today itself may be over already.
    shown[:, :today] &= emails[:, :today] > instance.fleet.used[:, :today]
    shown[:, today] &= bool(emails[:, today].any())
    shown[:, last + 1 :] = False
    mailbox, place = np.nonzero(shown)
    return pd.DataFrame(
        {
            "mailbox_id": mailboxes.to_numpy()[mailbox],
            "send_day": dates.to_dates(place + origin).to_numpy(),
            "emails": emails[mailbox, place],
            "capacity": instance.fleet.capacity[mailbox, place],
        }
    )


def _daily(sent: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    by = ["send_day", "position"]
    planned = plan.sends.groupby(by).size().rename("planned")
    done = sent.groupby(by)["emails"].sum().rename("sent")
    both = pd.concat([done, planned], axis=1).fillna(0).astype("int64")
    return both.sort_index().reset_index()


def _unplaced(problem: Problem, plan: Plan) -> pd.DataFrame:
    """Return the emails without a slot, each with its reason."""
    rows = problem.scheduled_emails
    known = rows[_EMAIL].assign(
        slotted=has_slot(problem), stored=rows["unplaced_reason"].notna().to_numpy()
    )
    found = plan.unplaced.merge(known.drop_duplicates(_EMAIL), on=_EMAIL, how="left")
    slotted, stored = (found[name].eq(True).to_numpy() for name in ("slotted", "stored"))
    blocked = found["reason"].isin(BLOCKED).to_numpy()
    reason = np.select(
        [blocked, slotted, stored], [found["reason"], OUTDATED, found["reason"]], NOT_PLANNED
    )
    return found[_EMAIL].assign(reason=reason)


def _unplaced_by_sequence(problem: Problem, unplaced: pd.DataFrame) -> pd.DataFrame:
    sequence = problem.enrollments.set_index("id")["sequence_id"]
    keyed = unplaced.assign(sequence_id=unplaced["enrollment_id"].map(sequence))
    counted = keyed.groupby(["sequence_id", "reason"]).size().rename("emails").reset_index()
    named = names(problem.sequences, "name", "sequence")
    counted.insert(1, "name", counted["sequence_id"].map(named))
    return counted.sort_values("emails", ascending=False, kind="stable", ignore_index=True)


def _delays(sends: pd.DataFrame) -> pd.DataFrame:
    def counts(days: pd.Series) -> np.ndarray:
        return np.bincount(np.searchsorted(_UPPER_ENDS, days), minlength=len(DELAYS))

    return pd.DataFrame(
        {
            "days": DELAYS,
            "lateness": counts(sends["lateness"]),
            "slip": counts(sends.loc[sends["follow_up"], "slip"]),
        }
    )


def _sequences(data: ReportData, sends: pd.DataFrame, unplaced: pd.DataFrame) -> pd.DataFrame:
    sequences = data.problem.sequences
    of_enrollment = data.problem.enrollments.set_index("id")["sequence_id"]
    planned, delays = sends.groupby("sequence_id"), data.plan.delays.groupby("sequence_id")
    contacts = data.contacts.pivot_table(
        index="sequence_id", columns="progress", values="contacts", aggfunc="sum", fill_value=0
    )
    columns = {
        "sent": data.sent.groupby("sequence_id")["emails"].sum(),
        "emails": planned.size(),
        "unplaced": unplaced["enrollment_id"].map(of_enrollment).value_counts(),
        "late_follow_ups": delays["late"].sum(),
        "slip_days": delays["slip"].sum(),
        "cost": delays["cost"].sum(),
        "first_day": planned["send_day"].min(),
        "finish_day": planned["send_day"].max(),
        "earliest_finish_day": planned["ideal_day"].max(),
    }
    frame = pd.DataFrame({"sequence_id": sequences["id"].to_numpy()}, index=sequences["id"])
    frame["name"] = names(sequences, "name", "sequence")
    frame["status"] = sequences["status"].to_numpy()
    standings = contacts.reindex(index=frame.index, columns=list(STANDINGS), fill_value=0)
    frame["contacts"] = standings.sum(axis=1).astype("int64")
    frame = frame.join(standings.astype("int64"))
    for name, values in columns.items():
        frame[name] = values.reindex(frame.index)
    whole = dict.fromkeys(_COUNTS, "int64")
    return frame.fillna(dict.fromkeys((*_COUNTS, "cost"), 0)).astype(whole).reset_index(drop=True)


def _mailboxes(data: ReportData, load: pd.DataFrame) -> pd.DataFrame:
    mailboxes = data.problem.mailboxes
    planned, by_mailbox = data.plan.sends.groupby("mailbox_id"), load.groupby("mailbox_id")
    sent = data.sent_by_mailbox.set_index("mailbox_id")["emails"]
    full = load[load["emails"] >= load["capacity"]].groupby("mailbox_id").size()
    frame = pd.DataFrame({"mailbox_id": mailboxes["id"].to_numpy()}, index=mailboxes["id"])
    frame["name"] = names(mailboxes, "email", "mailbox")
    for name in ("status", "daily_capacity"):
        frame[name] = mailboxes[name].to_numpy()
    for name, values in {
        "sent": sent,
        "emails": planned.size(),
        "capacity": by_mailbox["capacity"].sum(),
        "full_days": full,
        "days": by_mailbox.size(),
    }.items():
        frame[name] = values.reindex(frame.index).fillna(0).astype("int64")
    used = by_mailbox["emails"].sum().reindex(frame.index)
    frame["use"] = (used / frame["capacity"]).where(frame["capacity"] > 0)
    frame["finish_day"] = planned["send_day"].max().reindex(frame.index)
    gone = (frame["status"] == MailboxStatus.REMOVED) & (frame["sent"] + frame["emails"] == 0)
    return frame[~gone].reset_index(drop=True)


def _bottlenecks(data: ReportData) -> Bottlenecks | None:
    if not len(data.plan.sends):
        return None
    how = data.parameters
    return bottlenecks(
        data.problem,
        data.plan,
        horizon_days=how.horizon_days,
        slip_weight=how.slip_weight,
        one_a_day=how.one_a_day,
        workers=how.workers,
    )
