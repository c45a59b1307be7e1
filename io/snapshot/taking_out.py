"""What is set aside, out of the tables that a problem is made of.

Its sent emails and those in flight stay, since they use up days of mailboxes and contacts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sendplan.io.database.conditions import FIRST_DAY, LAST_DAY
from sendplan.io.snapshot.set_aside import SetAside
from sendplan.planner.schema.columns import COLUMNS, in_frame
from sendplan.planner.schema.contracts import Columns
from sendplan.planner.schema.dates import DAY
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import (
    DAY_SECONDS,
    IN_FLIGHT,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    Reason,
    SequenceStatus,
)

Tables = dict[str, Any]
"""Frames, and `Columns` of enrollments and their emails, by name."""

_DAYS = tuple(int(np.datetime64(day, "D").astype(np.int64)) for day in (FIRST_DAY, LAST_DAY))


def taken_out(tables: Tables, aside: SetAside) -> tuple[Tables, SetAside, tuple[int, ...]]:
    """Take out of tables what is set aside.

    Parameters
    ----------
    tables : dict of DataFrame or Columns
        As they were read, null standing for what the database should not hold.
    aside : SetAside
        What is set aside.

    Returns
    -------
    tables : dict of DataFrame or Columns
        A sequence is paused and has no steps, a mailbox is paused, an enrollment is stopped and
        has no pending emails.
    aside : SetAside
        With the enrollments that go with a sequence or a mailbox.
    unmarked : tuple of int
        Pending emails that wait for something to be mended, and do not say so yet.
    """
    left = dict(tables)
    left["sequences"] = _sequences(tables["sequences"], aside)
    left["mailboxes"] = _mailboxes(tables["mailboxes"], aside)
    steps = tables["steps"]
    left["steps"] = steps[~steps["sequence_id"].isin(aside.sequences)]
    people = dict(tables["enrollments"].of)
    emails = dict(tables["scheduled_emails"].of)
    out = _enrollments(tables, aside)
    pending = np.asarray(emails["status"] == EmailStatus.PENDING)
    of_out = np.isin(emails["enrollment_id"], people["id"][out])
    waiting = _waiting(tables, out)
    unmarked = (
        pending
        & np.isin(emails["enrollment_id"], people["id"][waiting])
        & np.asarray(emails["unplaced_reason"] != Reason.SET_ASIDE)
        & ~np.isin(emails["id"], list(aside.emails))
    )
    kept = ~(pending & of_out) & (emails["status"].codes >= 0)
    left["scheduled_emails"] = Columns(
        _in_range("scheduled_emails", {name: values[kept] for name, values in emails.items()})
    )
    people = _in_range("enrollments", people)
    people["status"] = _with_word(people["status"], out, EnrollmentStatus.STOPPED)
    people["contact_timezone"] = _with_word(people["contact_timezone"], out, None)
    people["current_step_id"] = np.where(out, NULL, people["current_step_id"])
    people["enrolled_at"] = np.where(
        out & (people["enrolled_at"] == NULL), 0, people["enrolled_at"]
    )
    left["enrollments"] = Columns(people)
    enrollments = aside.enrollments.union(tables["enrollments"].of["id"][out].tolist())
    return left, replace(aside, enrollments=enrollments), tuple(emails["id"][unmarked].tolist())


def _sequences(sequences: pd.DataFrame, aside: SetAside) -> pd.DataFrame:
    sequences = sequences.copy()
    out = sequences["id"].isin(aside.sequences).to_numpy()
    neutral = {
        name: column.default for name, column in in_frame("sequences").items() if name != "id"
    }
    neutral |= {
        "start_time": pd.Timedelta(0),
        "end_time": pd.Timedelta(seconds=DAY_SECONDS),
        "status": SequenceStatus.PAUSED,
    }
    for name, value in neutral.items():
        if name != "name":
            sequences[name] = _replaced(sequences[name], out, value)
    return sequences


def _mailboxes(mailboxes: pd.DataFrame, aside: SetAside) -> pd.DataFrame:
    mailboxes = mailboxes.copy()
    out = mailboxes["id"].isin(aside.mailboxes).to_numpy()
    removed = (mailboxes["status"] == MailboxStatus.REMOVED).to_numpy()
    neutral: dict[str, int | None] = {"daily_capacity": 0, "min_gap_seconds": 0}
    neutral |= dict.fromkeys(("ramp_start", "ramp_increment", "ramp_from"))
    for name, value in neutral.items():
        mailboxes[name] = _replaced(mailboxes[name], out, value)
    mailboxes["status"] = _replaced(mailboxes["status"], out & ~removed, MailboxStatus.PAUSED)
    return mailboxes


def _replaced(column: pd.Series, where: np.ndarray, value: Any) -> pd.Series:
    return pd.Series(
        [value if out else old for out, old in zip(where, column, strict=True)],
        index=column.index,
        dtype=column.dtype,
    )


def _enrollments(tables: Tables, aside: SetAside) -> np.ndarray:
    """Tell which enrollments are set aside, by themselves, with a sequence, or with mailboxes."""
    people, emails = tables["enrollments"].of, tables["scheduled_emails"].of
    out = np.isin(people["sequence_id"], list(aside.sequences))
    out |= np.isin(people["id"], list(aside.enrollments))
    if aside.mailboxes:
        mailboxes, links = tables["mailboxes"], tables["sequence_mailboxes"]
        gone = mailboxes["id"][(mailboxes["status"] == MailboxStatus.REMOVED).to_numpy()]
        senders = list(aside.mailboxes.difference(gone))
        held = np.isin(emails["mailbox_id"], senders)
        held &= np.isin(emails["status"], [*IN_FLIGHT, *OCCUPYING])
        thread = np.isin(people["id"], emails["enrollment_id"][held])
        bound = np.isin(people["mailbox_id"], senders)
        linked = links["sequence_id"][links["mailbox_id"].isin(senders).to_numpy()]
        free = people["mailbox_id"] == NULL
        bound |= thread & free
        out |= bound & np.isin(people["sequence_id"], linked.to_numpy(dtype=np.int64))
        # An enrollment that has not begun may take any mailbox left in the pool.
        active = mailboxes["id"][(mailboxes["status"] == MailboxStatus.ACTIVE).to_numpy()]
        usable = list(set(active).difference(aside.mailboxes))
        served = links["sequence_id"][links["mailbox_id"].isin(usable).to_numpy()]
        unserved = np.setdiff1d(linked.to_numpy(dtype=np.int64), served.to_numpy(dtype=np.int64))
        out |= free & np.isin(people["sequence_id"], unserved)
    return out


def _waiting(tables: Tables, out: np.ndarray) -> np.ndarray:
    """Tell which enrollments would be planned if they were not set aside."""
    people, sequences = tables["enrollments"].of, tables["sequences"]
    paused = sequences["id"][(sequences["status"] == SequenceStatus.PAUSED).to_numpy()]
    return np.asarray(
        out
        & np.asarray(people["status"] == EnrollmentStatus.ACTIVE)
        & (people["suppressed_at"] == NULL)
        & ~np.isin(people["sequence_id"], paused.to_numpy(dtype=np.int64))
    )


def _in_range(table: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Let null stand for dates and times that the database should not hold."""
    first, last = _DAYS
    read = dict(columns)
    for name in columns:
        kind = COLUMNS[table][name].kind
        if kind in ("date", "instant"):
            unit = DAY if kind == "instant" else 1
            values = columns[name]
            usable = (values >= first * unit) & (values <= last * unit)
            read[name] = np.where(usable, values, NULL)
    return read


def _with_word(values: pd.Categorical, where: np.ndarray, word: str | None) -> pd.Categorical:
    """Return words with others put in; None for null."""
    codes = values.codes.copy()
    codes[where] = -1 if word is None else values.categories.tolist().index(word)
    return pd.Categorical.from_codes(codes, categories=values.categories)
