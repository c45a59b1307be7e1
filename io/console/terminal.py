"""The terminal as rich writes to it: texts from the database never steer it."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sendplan.io.redaction import printable, redacted


class Terminal(Console):
    """A console of rich that takes every text for data: no markup, no control characters.

    Parameters
    ----------
    **how
        As of `rich.console.Console`.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False} | how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with a replacement for each character that could steer the terminal."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(redacted(segment.text)), segment.style)
