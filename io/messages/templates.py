"""Subjects and contents as templates over a contact's attributes, in a bounded sandbox."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from sendplan.io.documents.texts import shown, suggestion
from sendplan.io.errors import DataError
from sendplan.io.messages.template_rules import FILTERS, RESERVED, TESTS, Flaw, Inspector, flaw
from sendplan.planner.schema.errors import Fault

BUILT_INS = ("email", "sender")
"""Variables of every template: the contact's address and that of the mailbox that sends."""

MAX_SOURCE = 256 * 1024
"""Characters of a template at most."""

MAX_VALUE = 10_000
"""Characters of one attribute at most."""

MAX_TEXT = 1_000_000
"""Characters of a rendered text at most."""


class FlawedTemplateError(DataError):
    """A template that is wrong for every contact."""


class Absent(jinja2.StrictUndefined):
    """A variable without a value: false as a condition, an error when printed."""

    # The base class declares that this never returns.
    def __bool__(self) -> bool:  # type: ignore[override]
        """Return False, so that ``{% if title %}`` guards what stands inside."""
        return False


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=None, undefined=Absent, autoescape=False, keep_trailing_newline=True
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The variables of some templates.

    Parameters
    ----------
    used : frozenset of str
        All of them, built-in ones included.
    required : frozenset of str
        Those without which a text cannot be rendered, see `template_rules.Inspector`.
    """

    used: frozenset[str]
    required: frozenset[str]

    def __or__(self, other: "Placeholders") -> "Placeholders":
        """Return the variables of both."""
        return Placeholders(self.used | other.used, self.required | other.required)


def _inspect(source: str) -> tuple[list[Flaw], dict[str, int], set[str]]:
    if len(source) > MAX_SOURCE:
        rule = f"{len(source):,} characters"
        return [flaw(0, rule, f"keep to {MAX_SOURCE:,} at most")], {}, set()
    try:
        found = Inspector(_ENVIRONMENT.parse(source))
    except jinja2.TemplateSyntaxError as error:
        message = (error.message or "cannot be parsed").rstrip(".")[:200]
        remedy = "see that every {{, {% and if is closed, and names are single words"
        return [flaw(error.lineno, f"syntax error: {message}", remedy)], {}, set()
    except RecursionError:
        return [flaw(0, "nested too deeply", "write it flatter")], {}, set()
    return list(dict.fromkeys(found.flaws)), found.used, found.required


def template_faults(source: str, known: Collection[str]) -> list[Fault]:
    """Return everything wrong with a template, found without rendering it.

    Parameters
    ----------
    source : str
        The template.
    known : collection of str
        The attributes that it may use, besides the built-in variables.
    """
    found, used, _ = _inspect(source)
    names = sorted({*known, *BUILT_INS})
    for name, line in used.items():
        if name not in names:
            remedy = suggestion(name, names, "add it to the sequence's attributes")
            what = f"unknown variable {shown(name)}"
            found.append(flaw(line, what, f"{remedy} (known: {', '.join(names)})"))
    return [fault for _, fault in sorted(found, key=itemgetter(0))]


def attribute_fault(name: str) -> Fault | None:
    """Return why templates cannot use `name` as a contact's attribute, or None."""
    if name in BUILT_INS:
        return Fault("", f"{shown(name)} is a built-in variable", "use another name")
    if name in RESERVED or name.startswith("_") or not (name.isascii() and name.isidentifier()):
        remedy = "use letters, digits and _, as in first_name"
        return Fault("", f"{shown(name)} cannot be used in templates", remedy)
    return None


class Template:
    """A checked template, ready to be rendered many times.

    Parameters
    ----------
    source : str
        The template.

    Attributes
    ----------
    placeholders : Placeholders

    Raises
    ------
    FlawedTemplateError
        If the source breaks the rules of `template_rules`.
    """

    def __init__(self, source: str) -> None:
        found, used, required = _inspect(source)
        if found:
            raise FlawedTemplateError([fault for _, fault in found], "template")
        self.placeholders = Placeholders(frozenset(used), frozenset(required))
        self._compiled = _ENVIRONMENT.from_string(source)

    def render(self, values: Mapping[str, str]) -> str:
        """Fill in the values, within the limits of this module.

        Raises
        ------
        DataError
            If a required value is missing, or a value or the text is too long.
        """
        chosen = {name: values[name] for name in self.placeholders.used if name in values}
        for name, value in chosen.items():
            if not isinstance(value, str) or len(value) > MAX_VALUE:
                what = f"the value of '{name}' is no text of at most {MAX_VALUE:,} characters"
                raise DataError([Fault("", what, "correct the contact's attribute")], "template")
        parts: list[str] = []
        size = 0
        try:
            for part in self._compiled.generate(chosen):
                size += len(part)
                if size > MAX_TEXT:
                    what = f"the text grows beyond {MAX_TEXT:,} characters"
                    raise DataError([Fault("", what, "shorten the template")], "template")
                parts.append(part)
        except (jinja2.TemplateError, TypeError) as error:
            remedy = "give the contact that attribute, or guard it with default('…')"
            raise DataError([Fault("", str(error)[:200], remedy)], "template") from error
        return "".join(parts)


@lru_cache(maxsize=1024)
def template(source: str) -> Template:
    """Return the compiled template of a source; the newest 1,024 are kept."""
    return Template(source)


def placeholders(sources: Iterable[str | None]) -> Placeholders:
    """Return the variables of several templates together; null texts have none.

    Raises
    ------
    FlawedTemplateError
        If one of them breaks the rules.
    """
    total = Placeholders(frozenset(), frozenset())
    for source in sources:
        if source is not None:
            total |= template(source).placeholders
    return total
