"""The course of one simulated future: what has been sent, and who has left, night by night."""

import numpy as np
import pandas as pd

from sendplan.planner.model.instance import Instance
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema import dates
from sendplan.planner.simulation.randomness import MOST_ATTEMPTS, Samples

NEVER = np.iinfo(np.int64).max


class Rollout:
    """What has happened so far; nights are counted from 0, days are indices of the horizon.

    An answer, or a bounce, becomes known in the night after it comes, and the contact gets nothing
    from then on. A bounce comes on the day of the email.

    Parameters
    ----------
    instance : Instance
        All that can be sent, contacts to come included.
    draws : Samples
        What will become of each email.

    Attributes
    ----------
    comes_in : ndarray of int, shape (enrollments,)
        The night on which each enrollment is first seen: 0, or later where its date is.
    done : ndarray of int, shape (chains,)
        Emails sent.
    going : ndarray of bool, shape (chains,)
        Whether more may be sent: False from the night on in which the chain ends early.
    day : ndarray of int, shape (emails,)
        Day on which each email left, or `NONE`.
    mailbox : ndarray of int, shape (chains,)
        The thread's sender, or `NONE` as long as there is none.
    failures, given_up, bounces, replies : int
        Attempts that failed, emails that never got through, and emails that bounced or were
        answered.
    nights_planned : int
        Nights on which was planned.
    """

    def __init__(self, instance: Instance, draws: Samples) -> None:
        self.instance, self.draws = instance, draws
        chains = len(instance.chains)
        enrolled_at = instance.problem.enrollments["enrolled_at"].to_numpy()
        self.comes_in = np.maximum(-((instance.problem.now - enrolled_at) // dates.DAY), 0)
        self.length = np.diff(instance.chains.offset)
        self.done = np.zeros(chains, dtype=np.int64)
        self.going = np.ones(chains, dtype=bool)
        self.day = np.full(len(instance.emails), NONE)
        self.mailbox = instance.chains.mailbox.copy()
        self.failures = self.given_up = self.bounces = self.replies = 0
        self.nights_planned = 0
        self._attempts = np.zeros(len(instance.emails), dtype=np.int64)
        self._ends_in = np.full(chains, NEVER)

    @property
    def unfinished(self) -> np.ndarray:
        """Chains that are to get more; ndarray of bool."""
        return np.asarray(self.going & (self.done < self.length))

    def next_email(self, chain: np.ndarray) -> np.ndarray:
        """Return the next email of unfinished chains."""
        return np.asarray(self.instance.chains.offset[chain] + self.done[chain])

    def begin(self, night: int) -> bool:
        """Take note of who has replied or bounced; tell whether that leaves emails unsent."""
        ends = self.unfinished & (self._ends_in <= night)
        self.going[ends] = False
        return bool(ends.any())

    def attempt(
        self, email: np.ndarray, mailbox: np.ndarray, day: np.ndarray, night: int
    ) -> np.ndarray:
        """Try to send the next emails of some chains.

        Parameters
        ----------
        email, mailbox, day : ndarray of int
            What is tried, from where, and on which day.
        night : int
            The night before.

        Returns
        -------
        ndarray of bool
            Which of them were sent; the others are to be tried on another day, unless given up.
        """
        chain = self.instance.emails.chain[email]
        fails = self._attempts[email] < self.draws.failures[email]
        self._attempts[email[fails]] += 1
        self.failures += int(fails.sum())
        hopeless = fails & (self._attempts[email] >= MOST_ATTEMPTS)
        self.given_up += int(hopeless.sum())
        self.going[chain[hopeless]] = False

        sent, who = email[~fails], chain[~fails]
        self.day[sent] = day[~fails]
        self.mailbox[who] = mailbox[~fails]
        self.done[who] += 1
        self._answer(sent, who, night + 1)
        return np.asarray(~fails)

    def _answer(self, email: np.ndarray, chain: np.ndarray, tomorrow: int) -> None:
        bounced, replied = self.draws.bounced[email], self.draws.replied[email]
        self.bounces += int(bounced.sum())
        self.replies += int(replied.sum())
        answers = tomorrow + self.draws.reply_delay[email[replied]]
        np.minimum.at(self._ends_in, chain[replied], answers)
        if bounced.any():
            contact = self.instance.chains.contact
            gone = np.isin(contact, contact[chain[bounced]])
            self._ends_in[gone] = np.minimum(self._ends_in[gone], tomorrow)

    def sends(self) -> pd.DataFrame:
        """Return what has been sent.

        Returns
        -------
        DataFrame
            enrollment_id, step_id, position, mailbox_id and send_day, by enrollment and in order
            of sending.
        """
        instance, problem = self.instance, self.instance.problem
        email = np.flatnonzero(self.day != NONE)
        chain = instance.emails.chain[email]
        enrollment_id = problem.enrollments["id"].to_numpy()[instance.chains.enrollment[chain]]
        order = np.lexsort((email, enrollment_id))
        email, chain = email[order], chain[order]
        step = problem.live_steps.iloc[instance.stages.step[instance.emails.stage[email]]]
        return pd.DataFrame(
            {
                "enrollment_id": enrollment_id[order],
                "step_id": step["id"].to_numpy(),
                "position": step["position"].to_numpy(),
                "mailbox_id": problem.mailboxes["id"].to_numpy()[self.mailbox[chain]],
                "send_day": dates.to_dates(self.day[email] + problem.horizon.origin),
            }
        )
