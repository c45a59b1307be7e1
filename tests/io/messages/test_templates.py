"""Templates: what is refused before anything is rendered, and what rendering promises."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendplan.io.errors import DataError
from sendplan.io.messages import templates
from sendplan.io.messages.templates import Template, placeholders, template_faults

KNOWN = ("first_name", "company")

REFUSED = [
    # source, line, what, remedy
    ("Hi {{ firstname }}", 1, "unknown variable 'firstname'", "did you mean 'first_name'?"),
    ("{{ turnover }}", 1, "unknown variable 'turnover'", "company, email, first_name, sender"),
    ("a\nb {{ company\n", 2, "syntax error: unexpected end of template", "closed"),
    ("a\n{% if company %}\nb", 2, "syntax error: Unexpected end of template", "closed"),
    ("{{ first name }}", 1, "syntax error: expected token", "single words"),
    ("{% trans %}", 1, "syntax error: Encountered unknown tag 'trans'", "closed"),
    ("{{ company.__class__.__mro__ }}", 1, "attributes of values are not allowed", "by its name"),
    ("{{ ''['__class__'] }}", 1, "attributes of values are not allowed", "by its name"),
    ("{{ company|attr('__class__') }}", 1, "the filter 'attr' is not allowed", "use one of"),
    ("{{ __builtins__ }}", 1, "'__builtins__' is no variable", "attributes"),
    ("{{ self }}", 1, "'self' is no variable", "attributes"),
    ("{{ lipsum(n=1000000) }}", 1, "calls are not allowed", "filters only"),
    ("{{ range(10 ** 9)|list }}", 1, "the filter 'list' is not allowed", "use one of"),
    ("{% include '/etc/passwd' %}", 1, "other templates cannot be used", "into this step"),
    ("{% import 'x' as x %}", 1, "other templates cannot be used", "into this step"),
    ("{% from 'x' import y %}", 1, "other templates cannot be used", "into this step"),
    ("{% extends 'x' %}", 1, "other templates cannot be used", "into this step"),
    ("{% block a %}{% endblock %}", 1, "other templates cannot be used", "into this step"),
    ("{% macro m() %}{{ m() }}{% endmacro %}", 1, "macros are not allowed", "out"),
    ("{% call m() %}{% endcall %}", 1, "calls are not allowed", "filters only"),
    ("\n{% for a in company %}{% endfor %}", 2, "loops are not allowed", "write the text out"),
    ("{% set a = company %}", 1, "assignments are not allowed", "attribute itself"),
    ("{% set a %}{% endset %}", 1, "assignments are not allowed", "attribute itself"),
    ("{% with a = 'x' %}{% endwith %}", 1, "assignments are not allowed", "attribute itself"),
    ("{% filter upper %}{% endfilter %}", 1, "filterblock is not allowed", "if and filters"),
    ("{% autoescape true %}{% endautoescape %}", None, "autoescape is not allowed", "as it is"),
    ("{{ '%1000000000d' % 1 }}", 1, "arithmetic and formatting are not allowed", "attribute"),
    ("{{ 'a' * 1000000000 }}", 1, "arithmetic and formatting are not allowed", "attribute"),
    ("{{ 9 ** 9 ** 9 }}", 1, "arithmetic and formatting are not allowed", "attribute"),
    ("{{ company + company }}", 1, "arithmetic and formatting are not allowed", "attribute"),
    ("{{ -1 }}", 1, "arithmetic and formatting are not allowed", "attribute"),
    ("{{ '%9d'|format(1) }}", 1, "the filter 'format' is not allowed", "use one of"),
    ("{{ company|center(1000000000) }}", 1, "the filter 'center' is not allowed", "use one of"),
    ("{{ company|replace('', 'aaaaaa') }}", 1, "the filter 'replace' is not allowed", "use one"),
    ("{{ company|indent(1000000000) }}", 1, "the filter 'indent' is not allowed", "use one of"),
    ("{{ company|truncate(3) }}", 1, "wrong arguments of the filter 'truncate'", "truncate(20)"),
    ("{{ company|upper(1) }}", 1, "wrong arguments of the filter 'upper'", "write upper"),
    ("{{ company|default(*'ab') }}", 1, "wrong arguments of the filter 'default'", "'there'"),
    ("{{ {'a': 1} }}", 1, "dict is not allowed", "filters only"),
    ("{{ ['a'] }}", 1, "list is not allowed", "filters only"),
    ("{{ company is string }}", 1, "the test 'string' is not allowed", "is defined"),
    ("{% if company > 10 %}{% endif %}", 1, "a text is compared with something", "quotes"),
    ("{% if company == 10 %}{% endif %}", 1, "a text is compared with something", "quotes"),
    ("{% if company in 10 %}{% endif %}", 1, "a text is compared with something", "quotes"),
    ("{{ 10|length }}", 1, "'length' works on texts only", "drop"),
    ("{{ " + "(" * 500 + "company" + ")" * 500 + " }}", None, "nested too deeply", "flatter"),
    ("{{ company" + " or company" * 5000 + " }}", None, "nested too deeply", "flatter"),
    ("{{ company" + "|upper" * 41 + " }}", 1, "more than 40 levels of nesting", "flatter"),
    ("{% if company %}" * 41 + "{% endif %}" * 41, 1, "more than 40 levels", "flatter"),
    ("{{ company }}" * 1001, None, "1,001 variables in one template", "1,000 at most"),
    ("x" * (templates.MAX_SOURCE + 1), None, "262,145 characters", "262,144 at most"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "line", "what", "remedy"), REFUSED, ids=[case[0][:30] for case in REFUSED]
)
def test_refused_before_rendering(source: str, line: int | None, what: str, remedy: str) -> None:
    begun = time.monotonic()
    found = template_faults(source, KNOWN)
    # Far above what it takes; only a text that was really expanded would need longer.
    assert time.monotonic() - begun < 30
    assert len(found) == 1
    assert found[0].where == (f"template line {line}" if line else "")
    assert what in found[0].rule
    assert remedy in found[0].remedy


def test_every_flaw_is_found_in_the_order_of_lines() -> None:
    found = template_faults("{{ a }}\n{% set b = 1 %}\n{{ c }}", KNOWN)
    assert [fault.where for fault in found] == [f"template line {line}" for line in (1, 2, 3)]


ALLOWED = [
    ("Hello {{ first_name }},\n", "Hello Ann,\n"),
    ("{{ first_name|upper }} {{ company|lower|title|trim }}", "ANN Acme"),
    ("{{ first_name|first }}.", "A."),
    ("{{ company|truncate(4) }} {{ 'abcdefghijklm'|truncate(6, true) }}", "ACME abc..."),
    ("{{ title|default('Dr') }} {{ title|d('x')|upper }}", "Dr X"),
    ("{{ title or first_name }}", "Ann"),
    ("{% if title %}{{ title }}{% elif company %}{{ company }}{% endif %}", "ACME"),
    ("{% if title is defined and title == 'Dr' %}x{% else %}y{% endif %}", "y"),
    ("{{ 'x' if company in ['ACME', 'Bolt'] else 'y' }}", "x"),
    ("{{ 'x' if first_name|length > 2 and not title else 'y' }}", "x"),
    ("{{ 'x' if title }}{{ 'y' if company }}", "y"),
    ("{{ 'Dear ' ~ first_name ~ '!' }}", "Dear Ann!"),
    ("{% raw %}{{ x }}{% endraw %}{# note #}", "{{ x }}"),
    ("{{ email }} {{ sender }}", "ann@x.example me@y.example"),
    ("50 % off – 100 €", "50 % off – 100 €"),
    ("{{ company|urlencode }}", "ACME"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), ALLOWED)
def test_allowed_templates_render(source: str, expected: str) -> None:
    values = {"first_name": "Ann", "company": "ACME", "email": "ann@x.example"}
    assert template_faults(source, (*KNOWN, "title")) == []
    assert Template(source).render({**values, "sender": "me@y.example"}) == expected


REQUIRED = [
    # A variable is required where the text cannot be rendered without it.
    ("{{ a }}", "a"),
    ("{{ a|upper }}", "a"),
    ("{{ a|default('x') }}", ""),
    ("{{ a|default(b) }}", "b"),
    ("{{ a|upper|default('x') }}", "a"),
    ("{{ a or 'x' }}", ""),
    ("{{ a or b }}", "b"),
    ("{{ a and 'x' }}", "a"),
    ("{{ a ~ '' }}", "a"),
    ("{% if a %}{{ a }}{% endif %}", ""),
    ("{% if not a %}x{% else %}{{ a }}{% endif %}", ""),
    ("{% if a %}{% else %}{{ a }}{% endif %}", "a"),
    ("{% if a is defined %}{{ a }}{% endif %}{{ b }}", "b"),
    ("{% if a is undefined %}{% elif b %}{{ a }}{{ b }}{% endif %}", ""),
    ("{% if a is undefined %}x{% else %}{{ a }}{% endif %}", ""),
    ("{% if a and b %}{{ a }}{{ b }}{% endif %}", ""),
    ("{% if a or b %}{{ a }}{% endif %}", "a"),
    ("{% if not (a and b) %}{% else %}{{ a }}{{ b }}{% endif %}", ""),
    ("{% if a == 'x' %}y{% endif %}", "a"),
    ("{% if a and a == 'x' %}y{% endif %}", ""),
    ("{{ a if a else 'x' }}", ""),
    ("{{ 'x' if a is undefined or a == 'y' else a }}", ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "required"), REQUIRED)
def test_required_variables(source: str, required: str) -> None:
    assert placeholders([source, None]).required == frozenset(required.split())
    # The analysis is held against the renderer: with only the required values, all is well.
    Template(source).render(dict.fromkeys(required.split(), "v"))


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "'x'", "a|default('x')", "b|default(a)", "email"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} or {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} ~ {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} and {two[1]})"),
        st.tuples(inner, inner, inner).map(lambda xs: f"({xs[0]} if {xs[1]} else {xs[2]})"),
        inner.map(lambda one: f"({one}|upper)"),
        st.sampled_from(["(a if a is defined else b)", "('y' if not b else b)"]),
    ),
    max_leaves=6,
)


@given(expression=EXPRESSIONS, given_too=st.sets(st.sampled_from(["a", "b"])))
def test_a_template_with_its_required_values_always_renders(
    expression: str, given_too: set[str]
) -> None:
    source = f"{{% if {expression} %}}{{{{ {expression} }}}}{{% endif %}}"
    assert template_faults(source, ("a", "b")) == []
    compiled = Template(source)
    names = compiled.placeholders.required | given_too | {"email"}
    compiled.render(dict.fromkeys(names, "v"))


def test_a_missing_value_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"'first_name' is undefined – give the contact"):
        Template("{{ first_name }}").render({"company": "ACME"})


def test_a_refused_template_cannot_be_compiled() -> None:
    with pytest.raises(DataError, match="template line 1: loops are not allowed"):
        Template("{% for x in 'a' %}{% endfor %}")


def test_rendering_is_bounded_in_time_and_memory() -> None:
    widest = Template("{{ v|urlencode|title }}" * 1_000)
    values = {"v": "\U0001f600" * templates.MAX_VALUE}
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(DataError, match="the text grows beyond 1,000,000 characters"):
        widest.render(values)
    assert time.monotonic() - begun < 60
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    with pytest.raises(DataError, match="'v' is no text of at most 10,000 characters"):
        widest.render({"v": "x" * 10_001})
