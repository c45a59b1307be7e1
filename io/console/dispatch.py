"""Output of dispatching, when it has ended."""

from typing import TYPE_CHECKING, Any

from sendplan.io.streams import tell

if TYPE_CHECKING:
    from pathlib import Path

    from sendplan.io.dispatch.dispatcher import Dispatched

WORDS = {
    "sent": "sent",
    "temporary": "deferred, to be retried",
    "recipient": "refused: bad address, contact stopped",
    "refused": "refused",
    "mailbox": "released: mailbox paused",
    "flawed": "released: sequence paused for a flawed template",
    "unreachable": "released: server not usable",
    "withdrawn": "released",
    "uncertain": "uncertain, see `sendplan uncertain`",
    "stale": "taken over by another dispatcher",
}
"""Outcomes of emails, in the order of the output."""


def dispatched_json(done: "Dispatched") -> dict[str, Any]:
    """Return the object that ``dispatch --json`` prints."""
    outcomes = {word: done.outcomes.get(word, 0) for word in WORDS}
    return {"outcomes": outcomes, "recovered": dict(done.recovered)}


def show_dispatched(done: "Dispatched", outbox: "Path | None") -> None:
    """Print the outcomes of the emails, one line for each kind."""
    sent = "sent" if outbox is None else f"written to {outbox}/"
    words = WORDS | {"sent": sent}
    lines = [f"{done.outcomes[word]:,} {words[word]}" for word in words if done.outcomes.get(word)]
    lines += [
        f"{count:,} recovered from failed dispatchers, now {status}"
        for status, count in done.recovered.items()
    ]
    tell("\n".join(lines or ["Nothing was due."]))
