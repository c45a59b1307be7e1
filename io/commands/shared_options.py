"""Options that several commands have."""

from dataclasses import replace

from sendplan.io.commands.option import Option, clock, moment
from sendplan.planner.schema.vocabulary import GRACE_SECONDS

AS_OF = Option("--as-of", "TIME", "Act as of this time, such as 2026-11-23T02:00:00+00:00.", moment)
NOW = replace(AS_OF, name="now", default=clock)
JSON = Option("--json", about="Print one JSON object.", name="as_json")
GRACE = Option(
    "--grace",
    "SECONDS",
    "Time after its slot in which an email may be sent; equal for dispatch and recalc.",
    float,
    least=0,
    default=GRACE_SECONDS,
)
LOG = Option("--log", about="Form of the log, on stderr.", choices=("text", "json"), default="text")
