"""Output of bottlenecks: pools that lack capacity, the costliest first."""

from typing import TYPE_CHECKING

from sendplan.io.console.tables import print_table
from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.wording import Columns

if TYPE_CHECKING:
    import pandas as pd

    from sendplan.io.studies.bottlenecks import StoredBottlenecks

SHOWN_POOLS = 15
NAME_WIDTH = 15


def show_bottlenecks(stored: "StoredBottlenecks") -> None:
    """Print where capacity is short, and what more of it would save."""
    console, found = Terminal(), stored.found
    if not len(found.pools) and not len(found.new_emails):
        console.print("No capacity is short: more would save nothing.")
        return
    when: Columns = {
        "when": ("When", "text"),
        "days": ("Days", "count"),
        "price": ("One more", "decimal"),
    }
    pools = found.pools.to_dict("records")
    print_table(
        console,
        f"Pools that lack capacity; what {found.more:.0%} more would save, of a cost of"
        f" {found.cost:,.0f}",
        {
            "pool": ("Sends for", "text"),
            "mailboxes": ("Mailboxes", "count"),
            **when,
            "saving": ("Saves", "count"),
            "saving_at_least": ("At least", "count"),
            "saving_at_most": ("At most", "count"),
        },
        [
            {
                **row,
                "pool": _pool(row["mailbox_ids"], row["sequence_ids"], stored),
                "mailboxes": len(row["mailbox_ids"]),
                "when": _span(row["first_day"], row["last_day"]),
            }
            for row in pools
        ],
        most=SHOWN_POOLS,
        width=NAME_WIDTH,
    )
    sequences = found.new_emails.to_dict("records")
    print_table(
        console,
        "Sequences limited by max_new_per_day",
        {"name": ("", "text"), **when},
        [
            {
                **row,
                "name": stored.sequences[row["sequence_id"]],
                "when": _span(row["first_day"], row["last_day"]),
            }
            for row in sequences
        ],
    )
    console.print(
        "\nOne more: the most that one more email of capacity a day saves, on average over the"
        " days that lack it, in days of lateness.\nSaves: decrease of the lower bound."
        " At least: saving of a plan made with it. At most: limit for every plan."
    )


def _pool(
    mailbox_ids: tuple[int, ...], sequence_ids: tuple[int, ...], stored: "StoredBottlenecks"
) -> str:
    """Name a single mailbox by its address, several by the sequences that they send for."""
    if len(mailbox_ids) == 1:
        return stored.mailboxes[mailbox_ids[0]]
    more = f" +{len(sequence_ids) - 1}" if len(sequence_ids) > 1 else ""
    return stored.sequences[sequence_ids[0]] + more


def _span(first: "pd.Timestamp", last: "pd.Timestamp") -> str:
    return f"{first:%d %b}" if first == last else f"{first:%d %b}–{last:%d %b}"
