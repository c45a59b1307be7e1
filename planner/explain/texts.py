"""Explanations in words: a few short paragraphs, one for each question."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from sendplan.planner.explain.facts import (
    Alternative,
    DayBetween,
    Exchange,
    Load,
    Minute,
    Ready,
    SenderChoice,
)
from sendplan.planner.schema.vocabulary import WaitUnit
from sendplan.planner.schema.wording import counted

SHOWN_CONTENTS = 3
"""Most kinds of emails in the description of a full day."""

SHOWN_DAYS = 12
"""Most days that are described one by one."""


@dataclass(frozen=True)
class Explanation:
    """Why an email has its slot, or none.

    Parameters
    ----------
    enrollment_id, step_id, sequence_id, position : int
        The email; position None for a removed step.
    sequence : str
        Name.
    follow_up : bool
        Whether an earlier email of the thread exists.
    state : str
        ``"planned"``, ``"unplaced"``, or ``"idle"``: not planned.
    reason : str or None
        Why it is not planned: a word of `Reason`, or another one.
    why : str or None
        The same as a sentence.
    remedy : str or None
        What to do.
    mailbox_id, send_day, send_at
        Its slot, or None.
    mailbox : str or None
        Address.
    timezone : str
        The zone in which days and windows are read.
    lateness, slip : int or None
        Days behind its ideal day, and behind its ready day.
    cost : float or None
        Their cost.
    ready : Ready or None
        Its ready day.
    days : tuple of DayBetween
        The days between; without a slot, up to the end of the horizon.
    sender : SenderChoice or None
        Why this mailbox.
    exchange : Exchange or None
        The exchange for an earlier day; None if there is none with one other email.
    minute : Minute or None
        Why this minute.
    names : dict
        Names of the mailboxes, by id.
    """

    enrollment_id: int
    step_id: int
    sequence_id: int
    position: int | None
    sequence: str
    follow_up: bool
    state: str
    timezone: str
    reason: str | None = None
    why: str | None = None
    remedy: str | None = None
    mailbox_id: int | None = None
    mailbox: str | None = None
    send_day: dt.date | None = None
    send_at: dt.datetime | None = None
    lateness: int | None = None
    slip: int | None = None
    cost: float | None = None
    ready: Ready | None = None
    days: tuple[DayBetween, ...] = ()
    sender: SenderChoice | None = None
    exchange: Exchange | None = None
    minute: Minute | None = None
    names: dict[int, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all facts as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the explanation as a few paragraphs."""
        return "\n\n".join(paragraphs(self))


def paragraphs(facts: Explanation) -> Iterator[str]:
    """Give the paragraphs of an explanation.

    Parameters
    ----------
    facts : Explanation
        The explanation.
    """
    yield _headline(facts)
    if facts.why is not None:
        yield " ".join(filter(None, (facts.why, facts.remedy)))
    if facts.ready is not None:
        yield _ready(facts.ready) + _behind(facts)
    if facts.days:
        yield "\n".join(_days(facts))
    if facts.exchange is not None:
        yield _exchange(facts.exchange, facts)
    if facts.sender is not None:
        yield _sender(facts.sender, facts)
    if facts.minute is not None and facts.send_at is not None:
        yield _minute(facts.minute, facts)


def _headline(facts: Explanation) -> str:
    place = f"Step {facts.position}" if facts.position else "A removed step"
    subject = f"{place} of {facts.sequence}, enrollment {facts.enrollment_id}"
    if facts.send_at is None:
        return f"{subject}: no slot."
    local = facts.send_at.astimezone(ZoneInfo(facts.timezone))
    zone = "UTC" if facts.timezone == "UTC" else facts.timezone
    when = f"{local:%a %d %b %Y} at {local:%H:%M:%S} ({zone})"
    text = f"{subject}: leaves on {when} from {facts.mailbox}"
    if facts.ready is None:
        return f"{text}."
    # A first email is late by what it is behind its ready day; a follow-up may be so by more.
    behind = facts.slip if facts.follow_up else facts.lateness
    return f"{text}, {counted(behind, 'day') + ' after' if behind else 'on'} its ready day."


def _ready(ready: Ready) -> str:
    """Describe the derivation of the ready day."""
    head = f"Ready on {_date(ready.day)}: "
    if ready.wait_days is None:
        body = f"enrolled on {_date(ready.since_day)}"
        if ready.after_hours:
            body += ", after that day's window had closed"
    else:
        unit = "sending day" if ready.wait_unit == WaitUnit.SENDING else "day"
        name = f"step {ready.previous_position}" if ready.previous_position else "the step before"
        verb = {"planned": "leaves", "claimed": "is being sent", "sending": "is being sent"}
        left = verb.get(ready.previous_state or "", "left")
        if ready.previous_state is None:
            body = f"{counted(ready.wait_days, unit)} after the enrolment"
        else:
            wait = (
                "no wait" if not ready.wait_days else f"a wait of {counted(ready.wait_days, unit)}"
            )
            body = f"{name} {left} on {_date(ready.since_day)}, then {wait}"
    if ready.since == "now":
        body += f"; {_date(ready.day)} is the first day that can be used"
    if ready.closed:
        body += f", past {_closed(ready.closed)}"
    return f"{head}{body}."


def _behind(facts: Explanation) -> str:
    """Describe lateness beyond the slip."""
    before = (facts.lateness or 0) - (facts.slip or 0)
    if not facts.follow_up or before <= 0:
        return ""
    return (
        f" That is {counted(before, 'day')} behind its ideal day, since earlier emails of its"
        " thread are late; explain those."
    )


def _closed(closed: tuple[tuple[dt.date, str], ...]) -> str:
    return ", ".join(
        why if why == f"{date:%A}" else f"{date:%a %d %b} ({why})" for date, why in closed
    )


def _days(facts: Explanation) -> Iterator[str]:
    """Describe the obstacles of each day; full days in a row are one line."""
    yield "Why not earlier:"
    days = [day for day in facts.days if day.obstacles != ("closed",)]
    lines = [
        (run, _full(run) if run[0].obstacles == ("full",) else _day(run[0], facts))
        for run in _runs(days)
    ]
    for run, words in lines[:SHOWN_DAYS]:
        first, last = run[0].day, run[-1].day
        when = f"{first:%a %d %b}" if first == last else f"{first:%a %d %b} to {last:%a %d %b}"
        yield f"  {when}: {words}"
    hidden = [day for run, _ in lines[SHOWN_DAYS:] for day in run]
    if hidden:
        full = sum(1 for day in hidden if "full" in day.obstacles)
        yield f"  … and {counted(len(hidden), 'day')} more, {full} of them full"


def _runs(days: Sequence[DayBetween]) -> list[list[DayBetween]]:
    """Group days in a row whose only obstacle is the capacity of the same mailboxes."""
    runs: list[list[DayBetween]] = []
    for day in days:
        joins = bool(runs) and day.obstacles == ("full",) == runs[-1][-1].obstacles
        if joins and bool(_sending(day)) == bool(_sending(runs[-1][-1])):
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _sending(day: DayBetween) -> list[Load]:
    return [load for load in day.loads if load.capacity]


def _day(day: DayBetween, facts: Explanation) -> str:
    """Describe the obstacles of one day."""
    texts = []
    for obstacle in day.obstacles:
        if obstacle == "window":
            texts.append("its window is over")
        elif obstacle == "in_flight":
            texts.append("the email before it is being sent and leaves no time")
        elif obstacle == "contact":
            texts.append(
                f"the contact gets {day.contact_gets} that day, and one a day is the limit"
            )
        elif obstacle == "max_new" and day.new is not None:
            new = counted(day.new[0], "first email")
            texts.append(f"{new} of the sequence, and max_new_per_day is {day.new[1]:,}")
        elif obstacle == "full":
            texts.append(_full([day]))
        elif obstacle == "min_gap":
            texts.append("min_gap_seconds leaves no second free")
    if day.alternative is not None:
        texts.append(_alternative(day.alternative, facts))
    elif not texts:
        texts.append("has capacity; not tried, since other emails of the thread have no slot")
    return "; ".join(texts)


def _full(run: Sequence[DayBetween]) -> str:
    """Describe what fills some days in a row."""
    mailboxes = run[0].loads
    if not mailboxes:
        return "no mailbox to send from"
    loads = [load for day in run for load in day.loads]
    capacity = sum(load.capacity for load in loads)
    ramp = any(load.ramp for load in loads)
    if not capacity:
        subject = "no mailbox sends anything" if len(mailboxes) > 1 else "the mailbox sends nothing"
        return f"{subject}{' yet, by its ramp' if ramp else ' that day'}"
    used = sum(load.used for load in loads)
    total = used + sum(load.planned for load in loads)
    kinds: Counter[tuple[str, int, bool]] = Counter()
    for day in run:
        for kind in day.contents:
            kinds[kind.sequence, kind.position, kind.first] += kind.emails
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    parts = [
        f"{count:,} of step {position} of {sequence}{' (first emails)' if first else ''}"
        for (sequence, position, first), count in ranked[:SHOWN_CONTENTS]
    ]
    if rest := sum(count for _, count in ranked[SHOWN_CONTENTS:]):
        parts.append(counted(rest, "other"))
    if used:
        parts.append(f"{used:,} sent or in flight")
    subject = f"all {len(mailboxes)} mailboxes are full" if len(mailboxes) > 1 else "full"
    limit = ", ramps included" if ramp and len(mailboxes) > 1 else ", by its ramp" if ramp else ""
    return f"{subject}, {total:,} of {capacity:,}{limit}: {', '.join(parts)}"


def _alternative(option: Alternative, facts: Explanation) -> str:
    where = ""
    if option.mailbox_id != facts.mailbox_id:
        where = f" at {facts.names.get(option.mailbox_id, option.mailbox_id)}"
    late = [
        f"step {one.position} {'would slip ' if not number else ''}by {counted(one.slip, 'day')}"
        for number, one in enumerate(one for one in option.follow_ups if one.slip)
    ]
    if option.cost > 0:
        reason = f", since {_listed(late)}" if late else ""
        return f"has capacity{where}, but {_price(option.cost)}{reason}"
    return f"has capacity{where}; {_price(option.cost)}"


def _price(cost: float) -> str:
    """Write the added cost of the plan."""
    if not cost:
        return "the plan would cost the same"
    return f"the plan would cost {_number(abs(cost))} {'more' if cost > 0 else 'less'}"


def _exchange(exchange: Exchange, facts: Explanation) -> str:
    """Describe the email that would move, and the cost."""
    other = exchange.yields
    where = f"{other.to_day:%a %d %b}"
    if other.to_mailbox_id != other.from_mailbox_id:
        where += f" at {facts.names.get(other.to_mailbox_id, other.to_mailbox_id)}"
    more = len(exchange.moves) - 2
    also = (
        f"; {counted(more, 'other email')} of the two threads would move, too" if more > 0 else ""
    )
    return (
        f"It could leave on {_date(exchange.day)} if another email moved. Cheapest of"
        f" {exchange.might_yield:,}: step {other.position} of {other.sequence}, enrollment"
        f" {other.enrollment_id}, to {where}{also}; {_price(exchange.cost)}."
    )


def _sender(sender: SenderChoice, facts: Explanation) -> str:
    """Describe why the email leaves from its mailbox."""
    name = facts.mailbox
    if sender.why == "bound":
        return f"From {name}: the thread has begun there and keeps its sender."
    if sender.why == "only":
        return f"From {name}, the only active mailbox of the sequence."
    if sender.why == "thread":
        return f"From {name}: a thread has one sender, and its first planned email leaves there."
    if not sender.others:
        return f"From {name}."
    known = [cost for _, cost in sender.others if cost is not None]
    dearer = [cost for cost in known if cost > 0]
    cheaper = [cost for cost in known if cost < 0]
    parts = []
    if same := len(known) - len(dearer) - len(cheaper):
        parts.append(f"{same} would cost the same")
    if dearer:
        least, most = _number(min(dearer)), _number(max(dearer))
        price = least if least == most else f"{least} to {most}"
        parts.append(f"{len(dearer)} would cost {price} more")
    if cheaper:
        parts.append(f"{len(cheaper)} would cost up to {_number(-min(cheaper))} less")
    if missing := len(sender.others) - len(known):
        parts.append(f"{missing} {'has' if missing == 1 else 'have'} no capacity left")
    others = counted(len(sender.others), "other mailbox")
    return f"From {name}; of the {others}, {_listed(parts)}."


def _minute(minute: Minute, facts: Explanation) -> str:
    """Describe why the email leaves at its minute."""
    zone = ZoneInfo(facts.timezone)
    opens, closes = minute.opens.astimezone(zone), minute.closes.astimezone(zone)
    how = {
        "even": "spread evenly over",
        "widest": "as far apart as their windows allow; its own is",
        "gap": "kept min_gap_seconds apart within",
        "kept": "at the times that they had, within",
    }[minute.spread]
    gaps = [
        f"{_span(gap)} {word}"
        for gap, word in (
            (minute.gap_before, "after the one before"),
            (minute.gap_after, "before the next"),
        )
        if gap is not None
    ]
    place = (
        f"Number {minute.number} of the {minute.of} emails" if minute.of > 1 else "The only email"
    )
    text = f"{place} of its mailbox that day, {how} {opens:%H:%M} to {closes:%H:%M}"
    return f"{text}: {', '.join(gaps)}." if gaps else f"{text}."


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if rest and minutes < 60 else f"{minutes} min"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _date(day: dt.date) -> str:
    return f"{day:%a %d %b}"
