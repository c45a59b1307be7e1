"""The rolling horizon: a future with a plan for the whole horizon, made anew each night.

The planner is that of `sendplan.solve`. Each night it gets what a database would hold by then: the
emails sent, the enrollments that have ended or arrived, and the slots of the plan before. Nights
without effect are skipped: after days on which everything went as planned, since that plan stands,
and before days on which no window opens.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.reading import read_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import DAY, SECOND
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import (
    IN_FLIGHT,
    MAX_HORIZON_DAYS,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
)
from sendplan.planner.simulation.rollout import Rollout
from sendplan.planner.solver import plan_with

STILL_COUNTS = 3 * DAY
"""Time after which a sent email uses no mailbox, contact or gap of a day to come."""

_RUN = 1
"""The plan_run_id of slots; any number tells them from provisional rows."""


def run_rolling_horizon(rollout: Rollout, parameters: Parameters) -> None:
    """Run one future, with a plan made anew every night.

    Parameters
    ----------
    rollout : Rollout
        At its beginning; changed in place.
    parameters : Parameters
        Planning parameters.
    """
    _RollingHorizon(rollout, parameters).run()


class _RollingHorizon:
    """One future, and the slots of the last plan."""

    def __init__(self, rollout: Rollout, parameters: Parameters) -> None:
        self.rollout, self.parameters = rollout, parameters
        instance = rollout.instance
        self.now = instance.problem.now
        self.snapshots = NightlySnapshots(rollout)
        emails = len(instance.emails)
        self.slot_day = np.full(emails, NONE)
        self.slot_mailbox = np.full(emails, NONE)
        self.slot_at = np.full(emails, NULL)

    def run(self) -> None:
        upset = True
        for night in range(MAX_HORIZON_DAYS + 1):
            now = self.now + night * DAY
            upset |= self.rollout.begin(night)
            upset |= bool((self.rollout.comes_in == night).any())
            if upset and (night == 0 or self._may_send(now)):
                plan = plan_with(self._problem(night), self.parameters)
                self._take(plan)
                self.rollout.nights_planned += 1
                # Emails beyond a given horizon may fit tomorrow.
                rolls = self.parameters.horizon_days is not None
                upset = rolls and len(plan.unplaced) > plan.blocked
            upset |= self._send_until(now + DAY, night)
            if (
                not upset
                and not self._waiting().any()
                and not (self.rollout.comes_in > night).any()
            ):
                return

    def _waiting(self) -> np.ndarray:
        """Tell which emails have a slot to come."""
        rollout, emails = self.rollout, self.rollout.instance.emails
        open_chain = rollout.unfinished[emails.chain]
        return np.asarray(open_chain & (rollout.day == NONE) & (self.slot_at != NULL))

    def _may_send(self, now: int) -> bool:
        """Tell whether any window opens before the next night."""
        instance = self.rollout.instance
        windows, chains = instance.windows, instance.chains
        open_then = (windows.opens < now + DAY) & (windows.closes > now)
        stage_of = np.zeros(len(windows.opens), dtype=np.int64)
        stage_of[chains.window] = chains.stage
        return bool((open_then & instance.stages.sends[stage_of, :-1]).any())

    def _problem(self, night: int) -> Problem:
        return self.snapshots.problem(night, self.slot_mailbox, self.slot_day, self.slot_at)

    def _take(self, plan: Plan) -> None:
        """Take over the slots of a plan."""
        found, emails = read_plan(self.rollout.instance, plan.sends), self.rollout.instance.emails
        self.slot_day = found.placement.day
        self.slot_mailbox = found.placement.mailbox[emails.chain]
        self.slot_at = np.where(found.at == NONE, NULL, found.at * SECOND)

    def _send_until(self, moment: int, night: int) -> bool:
        """Send what is due before a moment; tell whether anything failed."""
        rollout, failed = self.rollout, False
        within = self.slot_day <= rollout.instance.problem.horizon.last
        due = self._waiting() & (self.slot_at < moment) & within
        while due.any():
            # Of a chain with several emails due, the later ones wait for the earlier.
            email = np.flatnonzero(due)
            email = email[rollout.next_email(rollout.instance.emails.chain[email]) == email]
            if not len(email):
                return failed
            sent = rollout.attempt(email, self.slot_mailbox[email], self.slot_day[email], night)
            self.snapshots.sent_at[email[sent]] = self.slot_at[email[sent]]
            self.slot_at[email[~sent]] = NULL
            failed |= not sent.all()
            due[email] = False
        return failed


class NightlySnapshots:
    """The problem as a database would hold it on a night.

    Parameters
    ----------
    rollout : Rollout
        The future.

    Attributes
    ----------
    sent_at : ndarray of int64, shape (emails,)
        When each email left, in microseconds; `NULL` if it has not.
    """

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.first_problem = problem = rollout.instance.problem
        self.sent_at = np.full(len(rollout.instance.emails), NULL)
        self._history = _history(problem)
        emails, chains = rollout.instance.emails, rollout.instance.chains
        step = rollout.instance.stages.step[emails.stage] if len(emails) else emails.stage
        self._step_id = problem.live_steps["id"].to_numpy()[step]
        self._enrollment = chains.enrollment[emails.chain]

    def problem(self, night: int, mailbox: np.ndarray, day: np.ndarray, at: np.ndarray) -> Problem:
        """Return the problem of a night.

        Parameters
        ----------
        night : int
            Counted from 0.
        mailbox, day, at : ndarray of int, shape (emails,)
            The slots of the plan so far; `at` is `NULL` where there is none.

        Returns
        -------
        Problem
            Without enrollments that are not known yet and, from the second night on, without those
            that get no more and emails that use nothing any more.
        """
        then = self.first_problem
        seen = self.rollout.comes_in <= night
        if night == 0:
            if seen.all():
                return then
            return replace(then, enrollments=then.enrollments[seen].reset_index(drop=True))
        now = then.now + night * DAY
        rollout = self.rollout
        unfinished = np.zeros(len(then.enrollments), dtype=bool)
        unfinished[rollout.instance.chains.enrollment[rollout.unfinished]] = True
        rows = pd.concat([self._history, self._rows(mailbox, day, at, now)], ignore_index=True)
        place = pd.Index(then.enrollments["id"]).get_indexer(rows["enrollment_id"])
        moment = np.maximum(rows["sent_at"].to_numpy(), rows["send_at"].to_numpy())
        recent = moment > now - STILL_COUNTS
        kept = unfinished.copy()
        kept[place[recent & (place >= 0)]] = True
        kept &= seen
        rows = rows[recent | np.append(kept, False)[place]]
        return replace(
            then,
            now=now,
            enrollments=self._enrollments()[kept].reset_index(drop=True),
            scheduled_emails=rows.sort_values(["enrollment_id", "step_id"], ignore_index=True),
        )

    def _enrollments(self) -> pd.DataFrame:
        """Return the enrollments in their present state."""
        rollout, people = self.rollout, self.first_problem.enrollments
        chains = rollout.instance.chains
        columns = {
            name: people[name].to_numpy().copy()
            for name in ("status", "current_step_id", "last_sent_day", "mailbox_id")
        }
        columns["status"][chains.enrollment[~rollout.going]] = str(EnrollmentStatus.STOPPED)
        begun = np.flatnonzero(rollout.done)
        newest = chains.offset[begun] + rollout.done[begun] - 1
        who = chains.enrollment[begun]
        origin = self.first_problem.horizon.origin
        columns["current_step_id"][who] = self._step_id[newest]
        columns["last_sent_day"][who] = rollout.day[newest] + origin
        columns["mailbox_id"][who] = self._mailbox_id(rollout.mailbox[begun])
        return people.assign(**columns)

    def _rows(self, mailbox: np.ndarray, day: np.ndarray, at: np.ndarray, now: int) -> pd.DataFrame:
        """Return the emails sent so far, and the slots still to come."""
        rollout, then = self.rollout, self.first_problem
        sent = rollout.day != NONE
        waits = (
            ~sent & rollout.unfinished[rollout.instance.emails.chain] & (at != NULL) & (at >= now)
        )
        email = np.flatnonzero(sent | waits)
        gone = sent[email]
        sender = np.where(
            gone, rollout.mailbox[rollout.instance.emails.chain[email]], mailbox[email]
        )
        status = np.where(gone, str(EmailStatus.SENT), str(EmailStatus.PENDING)).astype(object)
        values = {
            "enrollment_id": then.enrollments["id"].to_numpy()[self._enrollment[email]],
            "step_id": self._step_id[email],
            "mailbox_id": self._mailbox_id(sender),
            "send_day": np.where(gone, rollout.day[email], day[email]) + then.horizon.origin,
            "send_at": np.where(gone, self.sent_at[email], at[email]),
            "sent_at": self.sent_at[email],
            "plan_run_id": np.full(len(email), _RUN),
            "unplaced_reason": np.full(len(email), None, dtype=object),
            "retry_at": np.full(len(email), NULL),
            "id": np.full(len(email), NULL),
            "status": status,
        }
        columns = then.scheduled_emails.columns
        return pd.DataFrame({name: pd.Series(values[name]) for name in columns})

    def _mailbox_id(self, place: np.ndarray) -> np.ndarray:
        return np.asarray(self.first_problem.mailboxes["id"].to_numpy()[place])


def _history(problem: Problem) -> pd.DataFrame:
    """Return the rows sent before the beginning; those in flight then count as sent."""
    rows = problem.scheduled_emails
    rows = rows[rows["status"].isin(OCCUPYING).to_numpy()]
    flying = rows["status"].isin(IN_FLIGHT).to_numpy()
    send_at, sent_at = rows["send_at"].to_numpy(), rows["sent_at"].to_numpy()
    # A row without times counts as of now, which moves on from here.
    landed = np.where(send_at == NULL, problem.now, send_at)
    timeless = (sent_at == NULL) & (send_at == NULL)
    return rows.assign(
        status=np.where(flying, str(EmailStatus.SENT), rows["status"].to_numpy()).astype(object),
        sent_at=np.where(flying | timeless, landed, sent_at),
    )
