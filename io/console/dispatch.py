"""What a person sees of dispatching, when it has ended."""

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sendplan.io.dispatch.dispatcher import Dispatched, Settings

WORDS = {
    "sent": "sent",
    "temporary": "not accepted now, to be tried again",
    "recipient": "refused for their address, whose contacts are stopped",
    "refused": "refused",
    "mailbox": "given back, as their mailbox was paused",
    "flawed": "given back, as their sequence was paused for a flawed template",
    "unreachable": "given back, as their server could not be used",
    "withdrawn": "given back",
    "uncertain": "uncertain, see `sendplan uncertain`",
    "stale": "no longer ours when they ended",
}
"""What became of emails, in the order in which it is told."""


def show_dispatched(done: "Dispatched", settings: "Settings", *, as_json: bool) -> None:
    """Print what became of the emails, as one object of JSON or one line a kind."""
    outcomes = {word: done.outcomes.get(word, 0) for word in WORDS}
    if as_json:
        told = {"outcomes": outcomes, "recovered": dict(done.recovered)}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    lines = [f"{count:,} {WORDS[word]}" for word, count in outcomes.items() if count]
    if settings.outbox is not None and outcomes["sent"]:
        lines[0] = f"{outcomes['sent']:,} written to {settings.outbox}/"
    lines += [
        f"{count:,} taken back from dispatchers that died, now {status}"
        for status, count in done.recovered.items()
    ]
    sys.stdout.write("\n".join(lines or ["Nothing was due."]) + "\n")
