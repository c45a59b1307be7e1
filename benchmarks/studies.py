"""Studies: twenty scenarios side by side, and the capacity that a day needs.

    python -m sendplan.benchmarks.studies

On the reference instance, in the memory of one process and its workers; the commands add what it
takes to read the database.
"""

import argparse
import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sendplan
from sendplan.benchmarks import machine, results
from sendplan.benchmarks.copying import today
from sendplan.planner import changes
from sendplan.planner.synthetic import instances as synthetic

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = results.STUDIES
CONTACTS, MAILBOXES = 50_000, 200


@dataclass(frozen=True)
class Study:
    """One question and what answering it took.

    Parameters
    ----------
    question, answer : str
        In words.
    seconds, work : float
        By the clock, and of all processors.
    """

    question: str
    answer: str
    seconds: float
    work: float


def scenarios(frames: dict[str, Any]) -> dict[str, Any]:
    """Return twenty scenarios, of every kind of change that a study makes."""
    steps = frames["steps"]
    longer = [
        changes.SetStep(int(key), wait_days=int(wait) + 1)
        for key, wait in zip(steps["id"], steps["wait_days"], strict=True)
        if wait
    ]
    last = steps.sort_values("position").groupby("sequence_id")["id"].last()
    now = synthetic.REFERENCE_NOW.date()
    later = (now + dt.timedelta(days=8)).isoformat()
    return {
        **{f"{n} more mailboxes": changes.AddMailboxes(n, 60) for n in (5, 10, 20, 40, 80)},
        **{f"{p} % of capacity": changes.ScaleCapacities(p / 100) for p in (50, 80, 90, 110, 125)},
        "twice the capacity": changes.ScaleCapacities(2),
        "waits a day longer": longer,
        "no last step": [changes.RemoveStep(int(key)) for key in last],
        "a step more": [changes.AddStep(int(key), 4) for key in last.index],
        "a week off": changes.DaysOff([now + dt.timedelta(days=7 + n) for n in range(5)]),
        "100 arrive a day": changes.Arrivals(1, 100, later, days=20),
        "a mailbox less": changes.RemoveMailbox(1),
        "one goes first": changes.SetSequence(1, priority=3.0),
        "weekends too": [
            changes.SetSequence(int(key), send_days=range(1, 8)) for key in last.index
        ],
        "short windows": [
            changes.SetSequence(int(key), start_time="10:00", end_time="12:00")
            for key in last.index
        ],
    }


def measure(contacts: int, mailboxes: int, say: Callable[[str], None]) -> list[Study]:
    """Measure all studies on an instance of a size."""
    frames = synthetic.reference(contacts, mailboxes)
    named = {name: frame for name, frame in frames.items() if name != "contacts"}
    problem = sendplan.Problem.from_frames(**named, now=synthetic.REFERENCE_NOW)
    wanted = scenarios(frames)
    # Imports are no part of a study.
    finish = sendplan.solve(problem, method="greedy").finish_day
    assert finish is not None
    by = finish - dt.timedelta(days=5)
    late = contacts // 12

    def compare() -> str:
        found = sendplan.compare(problem, wanted, method="greedy")
        return f"{found.frame['emails'].sum():,} emails planned; the cheapest is {found.best}"

    questions: dict[str, Callable[[], Any]] = {
        f"{len(wanted)} scenarios, and the problem as it is": compare,
        f"mailboxes to finish by {by}": lambda: sendplan.fewest_mailboxes(problem, by),
        f"the same, {late:,} late at most": lambda: sendplan.fewest_mailboxes(problem, by, late),
        f"capacity to finish by {by}": lambda: sendplan.smallest_capacity(problem, by),
        f"the same, {late:,} late at most ": lambda: sendplan.smallest_capacity(problem, by, late),
    }
    studies = []
    for question, ask in questions.items():
        say(question)
        begin, before = time.perf_counter(), machine.work()
        answer = ask()
        seconds, work = time.perf_counter() - begin, machine.work() - before
        studies.append(Study(question, str(answer), seconds, work))
    return studies


def report(contacts: int, mailboxes: int, studies: list[Study]) -> str:
    """Write the measurements down as Markdown."""
    rows = [
        [study.question, study.answer, f"{study.seconds:.1f}", f"{study.work:.1f}"]
        for study in studies
    ]
    parts = [
        HEADING,
        f"{today()}, commit {machine.commit()}; {machine.describe()}; "
        f"{machine.packages(('numpy', 'pandas', 'ortools'))}. {contacts:,} contacts and "
        f"{mailboxes:,} mailboxes, the greedy in two processes; seconds by the clock, and of all "
        "processors. Made by `python -m sendplan.benchmarks.studies`.",
        results.table(["question", "answer", "seconds", "work"], rows),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--mailboxes", type=int, default=MAILBOXES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    studies = measure(options.contacts, options.mailboxes, say)
    known = options.output.read_text() if options.output.exists() else ""
    found = report(options.contacts, options.mailboxes, studies)
    options.output.write_text(results.with_section(known, found).rstrip() + "\n")
    say(f"written: {options.output}")


if __name__ == "__main__":
    main()
