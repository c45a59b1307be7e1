"""The subset of Jinja2 that templates may use, so that rendering is bounded by construction.

Values are printed, compared, chosen by conditions and passed through a few filters that hardly
lengthen them. There are no loops, assignments, macros, calls, attributes, arithmetic or other
templates, so that the size of a text is linear in its template and values, and Python is out of
reach.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto

from jinja2 import nodes

from sendplan.io.documents.texts import shown
from sendplan.planner.schema.errors import Fault

MAX_DEPTH = 40
"""Most levels of nesting; Jinja2's compiler has its own limit beyond."""

MAX_REFERENCES = 1_000
"""Most variables printed or tested in one template."""

RESERVED = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs", "and", "or", "not",
                      "if", "else", "in", "is", "true", "false", "none", "True", "False",
                      "None"})  # fmt: skip
"""Words of the template language."""

Flaw = tuple[int, Fault]
"""A fault of a template and its line, from 1; 0 where it concerns the whole."""


def flaw(line: int, rule: str, remedy: str) -> Flaw:
    """Return a fault of a template that names its line."""
    return line, Fault(f"template line {line}" if line else "", rule, remedy)


class Kind(Enum):
    """Types of an expression; attributes are always texts."""

    TEXT = auto()
    NUMBER = auto()
    OTHER = auto()
    REFUSED = auto()
    """Reported already, so that the expression around it is not."""


_LOOPS = ("loops are not allowed", "write the text out, or put it into an attribute")
_ASSIGNMENTS = ("assignments are not allowed", "use the attribute itself")
_OTHERS = ("other templates cannot be used from here", "write the text into this step")
_CALLS = ("calls are not allowed", "use attributes and filters only")
_ARITHMETIC = ("arithmetic and formatting are not allowed", "put the result into an attribute")
_FIELDS = ("attributes of values are not allowed", "write the contact's attribute by its name")

_REFUSED: dict[type[nodes.Node], tuple[str, str]] = {
    nodes.For: _LOOPS,
    nodes.Assign: _ASSIGNMENTS,
    nodes.AssignBlock: _ASSIGNMENTS,
    nodes.With: _ASSIGNMENTS,
    nodes.Include: _OTHERS,
    nodes.Import: _OTHERS,
    nodes.FromImport: _OTHERS,
    nodes.Extends: _OTHERS,
    nodes.Block: _OTHERS,
    nodes.Scope: ("autoescape is not allowed", "write the text as it is"),
    nodes.Macro: ("macros are not allowed", "write the text out"),
    nodes.CallBlock: _CALLS,
    nodes.Call: _CALLS,
    nodes.Getattr: _FIELDS,
    nodes.Getitem: _FIELDS,
    nodes.BinExpr: _ARITHMETIC,
    nodes.UnaryExpr: _ARITHMETIC,
}

_EQUALITY = ("eq", "ne")
_ORDER = ("lt", "lteq", "gt", "gteq")
_MEMBERSHIP = ("in", "notin")
_COMPARISONS = {
    Kind.TEXT: (*_EQUALITY, *_ORDER, *_MEMBERSHIP),
    Kind.NUMBER: (*_EQUALITY, *_ORDER),
    Kind.OTHER: _EQUALITY,
    Kind.REFUSED: (),
}


def _arguments_of_default(arguments: list[nodes.Expr]) -> bool:
    return len(arguments) <= 2


def _arguments_of_truncate(arguments: list[nodes.Expr]) -> bool:
    length = arguments[0] if arguments else None
    return (
        isinstance(length, nodes.Const)
        and type(length.value) is int
        and 4 <= length.value <= 10_000
        and all(
            isinstance(more, nodes.Const) and type(more.value) is bool for more in arguments[1:]
        )
        and len(arguments) <= 2
    )


def _no_arguments(arguments: list[nodes.Expr]) -> bool:
    return not arguments


FILTERS: dict[str, Callable[[list[nodes.Expr]], bool]] = {
    "default": _arguments_of_default,
    "d": _arguments_of_default,
    "truncate": _arguments_of_truncate,
    **dict.fromkeys(
        ("capitalize", "first", "length", "lower", "title", "trim", "upper", "urlencode"),
        _no_arguments,
    ),
}
"""Filters that may be used, each with a check of its arguments."""

TESTS = ("defined", "undefined")

Names = frozenset[str]
_NONE: Names = frozenset()


class Inspector:
    """Walks a parsed template once and notes its faults and its variables.

    A variable is *required* if it is printed, compared or filtered in any place that no
    ``default``, test or condition guards.

    Attributes
    ----------
    flaws : list of Flaw
    used : dict of str to int
        Variables, each with the line of its first use.
    required : set of str
    """

    def __init__(self, template: nodes.Template) -> None:
        self.flaws: list[Flaw] = []
        self.used: dict[str, int] = {}
        self.required: set[str] = set()
        self._references = 0
        self._depth = 0
        self._body(template.body, _NONE)
        if self._references > MAX_REFERENCES:
            what = f"{self._references:,} variables in one template"
            self.flaws.append(flaw(0, what, f"keep to {MAX_REFERENCES:,} at most"))

    def _refuse(self, node: nodes.Node, what: str, remedy: str) -> Kind:
        self.flaws.append(flaw(node.lineno, what, remedy))
        return Kind.REFUSED

    def _refuse_kind(self, node: nodes.Node) -> Kind:
        for kind, (what, remedy) in _REFUSED.items():
            if isinstance(node, kind):
                if isinstance(node, nodes.Getattr):
                    what = f"{what} ({shown('.' + node.attr)})"
                return self._refuse(node, what, remedy)
        name = type(node).__name__.lower()
        return self._refuse(node, f"{name} is not allowed", "use attributes, if and filters only")

    def _body(self, body: Iterable[nodes.Node], sure: Names) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                for part in node.nodes:
                    if not isinstance(part, nodes.TemplateData):
                        self._value(part, sure)
            elif isinstance(node, nodes.If):
                self._branches(node, sure)
            else:
                self._refuse_kind(node)

    def _branches(self, node: nodes.If, sure: Names) -> None:
        if not self._deeper(node):
            return
        branches: list[nodes.If] = [node, *node.elif_]
        for branch in branches:
            # Jinja2 declares the test of an if as any node; the parser only makes expressions.
            assert isinstance(branch.test, nodes.Expr)
            self._value(branch.test, sure, tested=True)
            self._body(branch.body, sure | _present(branch.test, True))
            sure |= _present(branch.test, False)
        self._body(node.else_, sure)
        self._depth -= 1

    def _deeper(self, node: nodes.Node) -> bool:
        if self._depth >= MAX_DEPTH:
            self._refuse(node, f"more than {MAX_DEPTH} levels of nesting", "write it flatter")
            return False
        self._depth += 1
        return True

    def _value(self, node: nodes.Expr, sure: Names, *, tested: bool = False) -> Kind:
        if not self._deeper(node):
            return Kind.REFUSED
        kind = self._kind(node, sure, tested)
        self._depth -= 1
        return kind

    def _kind(self, node: nodes.Expr, sure: Names, tested: bool) -> Kind:
        match node:
            case nodes.Const():
                return _kind_of(node.value)
            case nodes.Name():
                return self._name(node, sure, tested)
            case nodes.Concat():
                for part in node.nodes:
                    self._value(part, sure)
                return Kind.TEXT
            case nodes.Filter():
                return self._filter(node, sure, tested)
            case nodes.Test():
                return self._test(node, sure)
            case nodes.Compare():
                return self._compare(node, sure)
            case nodes.Not():
                self._value(node.node, sure, tested=True)
                return Kind.OTHER
            case nodes.And():
                self._value(node.left, sure, tested=tested)
                return self._value(node.right, sure | _present(node.left, True), tested=tested)
            case nodes.Or():
                self._value(node.left, sure, tested=True)
                return self._value(node.right, sure | _present(node.left, False), tested=tested)
            case nodes.CondExpr():
                self._value(node.test, sure, tested=True)
                kind = self._value(node.expr1, sure | _present(node.test, True), tested=tested)
                if node.expr2 is not None:
                    self._value(node.expr2, sure | _present(node.test, False), tested=tested)
                return kind
        return self._refuse_kind(node)

    def _name(self, node: nodes.Name, sure: Names, tested: bool) -> Kind:
        self._references += 1
        if node.name in RESERVED or node.name.startswith("_"):
            return self._refuse(
                node, f"{shown(node.name)} is no variable", "use the contact's attributes"
            )
        self.used.setdefault(node.name, node.lineno)
        if not tested and node.name not in sure:
            self.required.add(node.name)
        return Kind.TEXT

    def _filter(self, node: nodes.Filter, sure: Names, tested: bool) -> Kind:
        check = FILTERS.get(node.name)
        if check is None or node.node is None:
            allowed = ", ".join(sorted(FILTERS))
            return self._refuse(
                node, f"the filter {shown(node.name)} is not allowed", f"use one of {allowed}"
            )
        plain = not (node.kwargs or node.dyn_args or node.dyn_kwargs) and check(node.args)
        if not plain:
            example = {"truncate": "truncate(20)"}.get(node.name, f"{node.name}('there')")
            remedy = f"write {example}" if check is not _no_arguments else f"write {node.name}"
            return self._refuse(node, f"wrong arguments of the filter '{node.name}'", remedy)
        guards = node.name in ("default", "d")
        kind = self._value(node.node, sure, tested=guards)
        for argument in node.args:
            self._value(argument, sure, tested=tested and guards)
        if guards or kind is Kind.REFUSED:
            return kind
        if kind is not Kind.TEXT:
            return self._refuse(node, f"'{node.name}' works on texts only", "drop the filter")
        return Kind.NUMBER if node.name == "length" else Kind.TEXT

    def _test(self, node: nodes.Test, sure: Names) -> Kind:
        if node.name not in TESTS or node.args or not isinstance(node.node, nodes.Name):
            remedy = "only “NAME is defined” and “NAME is undefined” can be tested"
            return self._refuse(node, f"the test {shown(node.name)} is not allowed", remedy)
        self._value(node.node, sure, tested=True)
        return Kind.OTHER

    def _compare(self, node: nodes.Compare, sure: Names) -> Kind:
        left = self._value(node.expr, sure)
        for operand in node.ops:
            if operand.op in _MEMBERSHIP and isinstance(operand.expr, nodes.List | nodes.Tuple):
                kinds = {left, *(self._value(item, sure) for item in operand.expr.items)}
                alike = len(kinds) == 1 and left is not Kind.OTHER
            else:
                right = self._value(operand.expr, sure)
                kinds = {left, right}
                alike = len(kinds) == 1 and operand.op in _COMPARISONS[left]
                left = right
            if not alike and Kind.REFUSED not in kinds:
                remedy = "attributes are texts: put numbers in quotes, or compare the length"
                self._refuse(node, "a text is compared with something else", remedy)
        return Kind.OTHER


def _kind_of(value: object) -> Kind:
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Kind.NUMBER
    return Kind.OTHER


def _present(test: nodes.Expr, outcome: bool) -> Names:
    """Return the variables that have a value if a condition has this outcome."""
    match test:
        case nodes.Name() if outcome:
            return frozenset({test.name})
        case nodes.Test(name="defined" | "undefined") if isinstance(test.node, nodes.Name):
            return frozenset({test.node.name}) if outcome is (test.name == "defined") else _NONE
        case nodes.Not():
            return _present(test.node, not outcome)
        case nodes.And() if outcome:
            return _present(test.left, True) | _present(test.right, True)
        case nodes.Or() if not outcome:
            return _present(test.left, False) | _present(test.right, False)
    return _NONE
