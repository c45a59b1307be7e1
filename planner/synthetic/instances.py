"""Seeded instances of the reference kind: campaigns in full flow, as frames of the tables.

Benchmarks, tests, notebooks and `sendplan demo` all plan these. Everything follows from the
arguments: no clock, no global random state. `history` invents what has been sent so far.
"""

import datetime as dt
import re
from string import Template

import numpy as np
import pandas as pd

from sendplan.planner.model.grouping import rank
from sendplan.planner.schema.vocabulary import MailboxStatus, SequenceStatus, WaitUnit
from sendplan.planner.synthetic import history, wording

REFERENCE_NOW = dt.datetime(2026, 11, 23, 2, 0, tzinfo=dt.UTC)
"""A Monday night: the moment that the reference instance is planned at."""

SEQUENCES_PER_OWNER = 4
STEP_COUNTS = (3, 4, 5, 6)
LONGEST_WAIT = 7
CAPACITIES = tuple(range(30, 81, 10))
CAPACITY_SHARES = tuple(1 / len(CAPACITIES) for _ in CAPACITIES)
"""Round daily caps, each as frequent as the others."""
IN_FLIGHT_SHARE = 0.4

ZONED_CONTACTS = 0.25
"""In a mixed instance, the share of contacts with a time zone of their own."""
REPEATED_CONTACTS = 0.04
"""In a mixed instance, the share of enrollments whose contact sits in two sequences."""
RAMPED_MAILBOXES = 0.3
OBSERVED_HOLIDAYS = 0.6
WAITS_IN_SENDING_DAYS = 0.3

_WINDOWS = ((9, 17), (8, 12), (10, 16), (13, 18))
_SEND_DAYS = ((1, 2, 3, 4, 5), (2, 3, 4), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4))
_GAPS = (0, 30, 60, 120)
_MARKET_SUFFIX = re.compile(r" [A-Z]{2}( \d+)?$")


def reference(
    contacts: int = 50_000,
    mailboxes: int = 200,
    owners: int | None = None,
    *,
    seed: int = 0,
    now: dt.datetime = REFERENCE_NOW,
    tight: bool = False,
    shared: bool = False,
    mixed: bool = False,
    provisional: bool = False,
) -> dict[str, pd.DataFrame]:
    """Generate an instance of the reference kind.

    Parameters
    ----------
    contacts
        Number of enrollments, of which 40 % are in flight (with their sent history) and the
        others were enrolled during the last days.
    mailboxes
        Number of mailboxes, of capacity 30 to 80 a day.
    owners
        Number of users; each owns ``mailboxes / owners`` mailboxes and 4 sequences of 3 to 6
        steps, linked all to all. By default one for every 20 mailboxes.
    seed
        Seed of all random choices.
    now
        The aware moment that the instance is to be planned at.
    tight
        Capacities are a quarter.
    shared
        One user owns everything, so that the instance is one component.
    mixed
        Windows, send days, time zones, holidays, wait units, priorities, ramps and gaps vary, some
        contacts have a time zone of their own, and some sit in two sequences.
    provisional
        Contacts that have received nothing yet carry a provisional row (life cycle) for step 1.

    Returns
    -------
    dict of str to pandas.DataFrame
        The frames ``sequences``, ``steps``, ``mailboxes``, ``sequence_mailboxes``, ``contacts``,
        ``enrollments`` and ``scheduled_emails``, with the columns of the tables. Days are
        ``datetime64[us]`` at midnight, times are UTC.

    Raises
    ------
    ValueError
        If a number is too small for the others, or `now` is naive.
    """
    owners = max(1, mailboxes // 20) if owners is None else owners
    if contacts < 1 or owners < 1 or mailboxes < owners:
        msg = f"need contacts >= 1 and mailboxes >= owners >= 1: {contacts}, {mailboxes}, {owners}"
        raise ValueError(msg)
    if now.utcoffset() is None:
        msg = f"now must carry a time zone, not {now!r}"
        raise ValueError(msg)
    # One random stream a subject, so that a variant changes only what it is about.
    campaign, capacity, person, past, mixture = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    variety = mixture if mixed else None

    sequences = _sequences(owners, variety)
    steps = _steps(sequences, campaign)
    boxes = _mailboxes(mailboxes, owners, now, capacity, variety)
    if tight:
        boxes["daily_capacity"] = np.maximum(1, boxes["daily_capacity"] // 4)
    if shared:
        boxes["user_id"] = 1
    links = _links(owners, mailboxes, shared=shared)
    people = _people(contacts, sequences, person, variety)
    enrollments, emails = history.unfold(
        people, sequences, steps, links, now, past, provisional=provisional
    )
    return {
        "sequences": sequences,
        "steps": steps,
        "mailboxes": boxes,
        "sequence_mailboxes": links,
        "contacts": _contacts(enrollments, person),
        "enrollments": enrollments,
        "scheduled_emails": emails,
    }


def _sequences(owners: int, variety: np.random.Generator | None) -> pd.DataFrame:
    """Four sequences an owner: one industry in one market, four themes."""
    count = owners * SEQUENCES_PER_OWNER
    owner = np.arange(count) // SEQUENCES_PER_OWNER
    markets = [wording.MARKETS[o % len(wording.MARKETS)] for o in owner]
    # Past all pairs of industry and market a number keeps the names apart.
    rounds = owner // (len(wording.INDUSTRIES) * len(wording.MARKETS))
    names = [
        f"{wording.INDUSTRIES[o % len(wording.INDUSTRIES)]} {market.code}{f' {r + 1}' if r else ''}"
        f" – {wording.THEMES[i % SEQUENCES_PER_OWNER]}"
        for i, (o, market, r) in enumerate(zip(owner, markets, rounds, strict=True))
    ]
    window = days = np.zeros(count, dtype=np.int64)
    observed = in_sending_days = np.zeros(count, dtype=bool)
    priority = np.ones(count)
    if variety is not None:
        window = variety.integers(len(_WINDOWS), size=count)
        days = variety.integers(len(_SEND_DAYS), size=count)
        observed = variety.random(count) < OBSERVED_HOLIDAYS
        in_sending_days = variety.random(count) < WAITS_IN_SENDING_DAYS
        priority = variety.choice([0.5, 1.0, 1.0, 2.0], size=count)
    return pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "name": names,
            "start_time": pd.Series([dt.time(_WINDOWS[w][0]) for w in window], dtype=object),
            "end_time": pd.Series([dt.time(_WINDOWS[w][1]) for w in window], dtype=object),
            "timezone": ["UTC" if variety is None else market.timezone for market in markets],
            "send_days": pd.Series([list(_SEND_DAYS[d]) for d in days], dtype=object),
            "holidays": pd.Series(
                [m.code if o else None for m, o in zip(markets, observed, strict=True)],
                dtype=object,
            ),
            "wait_unit": np.where(in_sending_days, str(WaitUnit.SENDING), str(WaitUnit.CALENDAR)),
            "priority": priority,
            "max_new_per_day": pd.array([None] * count, dtype="Int64"),
            "status": str(SequenceStatus.ACTIVE),
        }
    )


def _steps(sequences: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Give every owner one sequence of each length, in random order."""
    owners = len(sequences) // SEQUENCES_PER_OWNER
    counts = np.concatenate([rng.permutation(STEP_COUNTS) for _ in range(owners)])
    sequence = np.repeat(np.arange(len(sequences)), counts)
    position = rank(sequence) + 1
    waits = rng.integers(1, LONGEST_WAIT + 1, size=len(sequence))
    subjects, contents = [], []
    for s, p in zip(sequence, position, strict=True):
        audience, theme = sequences["name"].iloc[s].split(" – ")
        words = {"industry": _MARKET_SUFFIX.sub("", audience), "theme": theme}
        hook = Template(wording.HOOKS[theme]).substitute(words)
        subject = Template(wording.SUBJECTS[p - 1]).substitute(words)
        subjects.append(subject[0].upper() + subject[1:])
        contents.append(Template(wording.CONTENTS[p - 1]).substitute(words, hook=hook))
    return pd.DataFrame(
        {
            "id": np.arange(1, len(sequence) + 1),
            "sequence_id": sequence + 1,
            "position": pd.array(position, dtype="Int64"),
            "wait_days": np.where(position == 1, 0, waits),
            "subject": subjects,
            "content": contents,
            "removed_at": history.no_times(len(sequence)),
        }
    )


def _mailboxes(
    count: int,
    owners: int,
    now: dt.datetime,
    rng: np.random.Generator,
    variety: np.random.Generator | None,
) -> pd.DataFrame:
    """Mailboxes in equal shares for every owner."""
    owner = np.arange(count) * owners // count
    senders = wording.SENDERS
    emails = [
        f"{senders[r % len(senders)]}{r // len(senders) + 1 if r >= len(senders) else ''}"
        f"@outreach-{o + 1}.example"
        for o, r in zip(owner, rank(owner), strict=True)
    ]
    gap, start, increment, since = np.zeros((4, count), dtype=np.int64)
    ramped = np.zeros(count, dtype=bool)
    if variety is not None:
        gap = variety.choice(_GAPS, size=count)
        ramped = variety.random(count) < RAMPED_MAILBOXES
        start = variety.integers(5, 16, size=count)
        increment = variety.integers(2, 6, size=count)
        # Some ramps have not begun: such a mailbox sends nothing for a few days.
        since = variety.integers(-3, 15, size=count)
    today = np.datetime64(now.astimezone(dt.UTC).date(), "D")
    return pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "user_id": owner + 1,
            "email": emails,
            "daily_capacity": rng.choice(CAPACITIES, size=count, p=CAPACITY_SHARES),
            "min_gap_seconds": gap,
            "ramp_start": pd.Series(start, dtype="Int64").where(ramped),
            "ramp_increment": pd.Series(increment, dtype="Int64").where(ramped),
            "ramp_from": pd.Series((today - since).astype("datetime64[us]")).where(ramped),
            "transport": [f"env:SENDPLAN_SMTP_URL_{o + 1}" for o in owner],
            "status": str(MailboxStatus.ACTIVE),
        }
    )


def _links(owners: int, mailboxes: int, *, shared: bool) -> pd.DataFrame:
    """Link each owner's sequences to all of its mailboxes, or everything to everything."""
    count = owners * SEQUENCES_PER_OWNER
    mailbox_owner = np.arange(mailboxes) * owners // mailboxes
    linked = np.arange(count)[:, None] // SEQUENCES_PER_OWNER == mailbox_owner[None, :]
    sequence, mailbox = np.nonzero(linked | shared)
    return pd.DataFrame({"sequence_id": sequence + 1, "mailbox_id": mailbox + 1})


def _people(
    count: int,
    sequences: pd.DataFrame,
    rng: np.random.Generator,
    variety: np.random.Generator | None,
) -> history.People:
    """Spread contacts evenly over sequences, and choose those in flight."""
    sequence = rng.integers(len(sequences), size=count)
    in_flight = np.zeros(count, dtype=bool)
    in_flight[rng.permutation(count)[: round(count * IN_FLIGHT_SHARE)]] = True
    contact = np.arange(count)
    zone = np.full(count, None, dtype=object)
    if variety is not None:
        names = np.array([market.timezone for market in wording.MARKETS], dtype=object)
        zone = names[variety.integers(len(names), size=count)]
        zone[variety.random(count) >= ZONED_CONTACTS] = None
        first = np.arange(int(count * REPEATED_CONTACTS))
        again = count - 1 - first
        # A contact is enrolled in a sequence once.
        elsewhere = sequence[again] != sequence[first]
        contact[again[elsewhere]] = first[elsewhere]
        zone[again[elsewhere]] = zone[first[elsewhere]]
    return history.People(contact, sequence, in_flight, zone)


def _contacts(enrollments: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Build one row a contact; names repeat, addresses don't."""
    frame = enrollments[["contact_id", "contact_timezone"]].drop_duplicates("contact_id")
    frame = frame.sort_values("contact_id", ignore_index=True)
    number = frame["contact_id"].to_numpy()
    first, last, company, form = (
        np.array(words, dtype=object)[rng.integers(len(words), size=len(number))].tolist()
        for words in (
            wording.FIRST_NAMES,
            wording.LAST_NAMES,
            wording.COMPANIES,
            wording.COMPANY_FORMS,
        )
    )
    rows = list(zip(first, last, company, form, number.tolist(), strict=True))
    nothing = np.full(len(number), None, dtype=object)
    return pd.DataFrame(
        {
            "id": number,
            "email": [
                f"{f.lower()}.{s.lower()}.{n}@{c.lower()}-{k.lower()}.example"
                for f, s, c, k, n in rows
            ],
            "timezone": frame["contact_timezone"],
            "attributes": pd.Series(
                [
                    {"first_name": f, "last_name": s, "company": f"{c} {k}"}
                    for f, s, c, k, _ in rows
                ],
                dtype=object,
            ),
            "suppressed_at": history.no_times(len(number)),
            "suppressed_reason": nothing,
        }
    )
