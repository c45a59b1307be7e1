"""The rollout of one simulated future: what has been sent, and which chains have ended."""

import numpy as np
import pandas as pd

from sendplan.planner.model.instance import Instance
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema import dates
from sendplan.planner.simulation.randomness import MOST_ATTEMPTS, Samples

NEVER = np.iinfo(np.int64).max


class Rollout:
    """State of a simulated future; nights count from 0, days are indices of the horizon.

    A reply or a bounce is known in the night after it, and the contact gets nothing from then on. A
    bounce comes on the day of the email.

    Parameters
    ----------
    instance : Instance
        The instance with all arrivals.
    samples : Samples
        Outcome of each email.

    Attributes
    ----------
    comes_in : ndarray of int, shape (enrollments,)
        Night on which each enrollment becomes known.
    done : ndarray of int, shape (chains,)
        Emails sent.
    going : ndarray of bool, shape (chains,)
        False from the night on in which the chain ends early.
    day : ndarray of int, shape (emails,)
        Day on which each email left, or `NONE`.
    mailbox : ndarray of int, shape (chains,)
        Sender of each thread, or `NONE` before its first email.
    failures, given_up, bounces, replies : int
        Failed attempts, and emails that were given up, bounced or were answered.
    nights_planned : int
        Nights with planning.
    """

    def __init__(self, instance: Instance, samples: Samples) -> None:
        self.instance, self.samples = instance, samples
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
        """Whether each chain has emails to send; ndarray of bool, shape (chains,)."""
        return np.asarray(self.going & (self.done < self.length))

    def next_email(self, chain: np.ndarray) -> np.ndarray:
        """Return the next email of unfinished chains."""
        return np.asarray(self.instance.chains.offset[chain] + self.done[chain])

    def begin(self, night: int) -> bool:
        """End chains after known replies and bounces; tell whether any had emails to send."""
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
            The emails, their mailboxes and days.
        night : int
            The night before.

        Returns
        -------
        ndarray of bool
            Which of them were sent; the others are tried on another day, unless given up.
        """
        chain = self.instance.emails.chain[email]
        fails = self._attempts[email] < self.samples.failures[email]
        self._attempts[email[fails]] += 1
        self.failures += int(fails.sum())
        hopeless = fails & (self._attempts[email] >= MOST_ATTEMPTS)
        self.given_up += int(hopeless.sum())
        self.going[chain[hopeless]] = False

        sent, of_chain = email[~fails], chain[~fails]
        self.day[sent] = day[~fails]
        self.mailbox[of_chain] = mailbox[~fails]
        self.done[of_chain] += 1
        self._answer(sent, of_chain, night + 1)
        return np.asarray(~fails)

    def _answer(self, email: np.ndarray, chain: np.ndarray, tomorrow: int) -> None:
        bounced, replied = self.samples.bounced[email], self.samples.replied[email]
        self.bounces += int(bounced.sum())
        self.replies += int(replied.sum())
        answers = tomorrow + self.samples.reply_delay[email[replied]]
        np.minimum.at(self._ends_in, chain[replied], answers)
        if bounced.any():
            contact = self.instance.chains.contact
            gone = np.isin(contact, contact[chain[bounced]])
            self._ends_in[gone] = np.minimum(self._ends_in[gone], tomorrow)

    def sends(self) -> pd.DataFrame:
        """Return the emails sent.

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
