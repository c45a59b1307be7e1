"""What a person reads of bottlenecks: the dearest first."""

from typing import TYPE_CHECKING

from sendplan.io.console.tables import print_table
from sendplan.io.console.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd

    from sendplan.io.studies.bottlenecks import StoredBottlenecks

SHOWN_POOLS = 15
NAME_WIDTH = 11
"""Characters of a name, so that a table fits on 80 columns."""


def show_bottlenecks(stored: "StoredBottlenecks") -> None:
    """Print what is short, and what more of it would save."""
    console, found = Terminal(), stored.found
    if not len(found.pools) and not len(found.new_emails):
        console.print("Nothing is short: more capacity would save nothing.")
        return
    rows = found.pools.head(SHOWN_POOLS).to_dict("records")
    print_table(
        console,
        f"Pools that lack capacity; what {found.more:.0%} more would save, of a cost of"
        f" {found.cost:,.0f}",
        ["Sends for", "Boxes", "When", "Days", "One more", "Saves", "At least", "At most"],
        [
            [
                _pool(row["mailbox_ids"], row["sequence_ids"], stored),
                f"{len(row['mailbox_ids']):,}",
                _span(row["first_day"], row["last_day"]),
                f"{row['days']:,}",
                f"{row['price']:,.1f}",
                f"{row['saving']:,.0f}",
                "–"
                if row["saving_at_least"] != row["saving_at_least"]
                else f"{row['saving_at_least']:,.0f}",
                f"{row['saving_at_most']:,.0f}",
            ]
            for row in rows
        ],
        hidden=len(found.pools) - SHOWN_POOLS,
    )
    print_table(
        console,
        "Sequences that may start too few contacts a day",
        ["", "When", "Days", "One more"],
        [
            [
                stored.sequences[row["sequence_id"]],
                _span(row["first_day"], row["last_day"]),
                f"{row['days']:,}",
                f"{row['price']:,.1f}",
            ]
            for row in found.new_emails.to_dict("records")
        ],
    )
    console.print(
        "\nOne more: what one more email of capacity on a day saves at most, on average of the days"
        " that lack it, in days of lateness.\nSaves: by how much the proven bound falls; at least:"
        " what a plan made with it saves; at most: no plan saves more."
    )


def _pool(
    mailbox_ids: tuple[int, ...], sequence_ids: tuple[int, ...], stored: "StoredBottlenecks"
) -> str:
    """Name a mailbox by itself, and several by what they send for."""
    if len(mailbox_ids) == 1:
        name, more = stored.mailboxes[mailbox_ids[0]], 0
    else:
        name, more = stored.sequences[sequence_ids[0]], len(sequence_ids) - 1
    cut = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return cut + (f" +{more}" if more else "")


def _span(first: "pd.Timestamp", last: "pd.Timestamp") -> str:
    return f"{first:%d %b}" if first == last else f"{first:%d %b}–{last:%d %b}"
