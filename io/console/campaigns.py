"""Output of loading a campaign and of enrolling contacts."""

from typing import TYPE_CHECKING

from sendplan.io.streams import tell
from sendplan.planner.schema.wording import counted

if TYPE_CHECKING:
    from sendplan.io.campaigns.enroll import EnrollReport
    from sendplan.io.campaigns.loading import LoadReport


def show_loaded(report: "LoadReport") -> None:
    """Print what loading created, and what existed already."""
    tell(
        f"Created {counted(report.sequences, 'sequence')} with {counted(report.steps, 'step')},"
        f" {counted(report.mailboxes, 'mailbox')} and {counted(report.links, 'link')}."
    )
    if report.unchanged_sequences or report.known_mailboxes:
        tell(
            f"Already there: {counted(report.unchanged_sequences, 'sequence')} and"
            f" {counted(report.known_mailboxes, 'mailbox')}."
        )


def show_enrolled(report: "EnrollReport") -> None:
    """Print how many contacts of a list were enrolled, and how many not."""
    suppressed = f", {report.suppressed:,} suppressed" if report.suppressed else ""
    days = f"; first emails from {report.first_day} on" if report.first_day else ""
    tell(
        f"Enrolled {report.enrolled:,} of {counted(report.contacts, 'contact')};"
        f" {report.already_enrolled:,} already enrolled{suppressed}{days}."
    )
