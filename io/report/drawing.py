"""Drawing: a chart as SVG for a page, without scripts, in the colours of the page."""

import re
from typing import Any
from xml.etree import ElementTree

import vl_convert

SVG = "http://www.w3.org/2000/svg"
SHAPES = ("path", "rect", "line", "text", "tspan")
KEPT = (
    "d",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "transform",
    "fill",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "text-anchor",
    "font-size",
    "viewBox",
)
"""Attributes that draw; others, such as roles and fonts, come from the page."""

_LONG = re.compile(r"-?\d+\.\d{3,}")

ElementTree.register_namespace("", SVG)


def drawn(chart: Any, label: str) -> str:
    """Draw a chart.

    Parameters
    ----------
    chart : altair chart
        The chart.
    label : str
        Its text for screen readers.

    Returns
    -------
    str
        An ``svg`` element of shapes and texts only.
    """
    specification = chart.to_dict(validate=False)
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(specification))
    picture = _cleaned(root)
    picture.set("role", "img")
    picture.set("aria-label", label)
    return ElementTree.tostring(picture, encoding="unicode")


def _cleaned(element: ElementTree.Element) -> ElementTree.Element:
    """Copy the visible parts of an element."""
    kept = ElementTree.Element(
        element.tag,
        {name: _short(value) for name, value in element.attrib.items() if name in KEPT},
    )
    kept.text = element.text
    merged: dict[tuple[tuple[str, str], ...], ElementTree.Element] = {}
    for child in element:
        name = child.tag.removeprefix(f"{{{SVG}}}")
        if name != "g" and (name not in SHAPES or not _visible(name, child)):
            continue
        copy = _cleaned(child)
        if name == "g" and not len(copy):
            continue
        if name == "path":
            # Thousands of equal marks are one shape: smaller, and drawn at once.
            key = tuple(sorted(item for item in copy.attrib.items() if item[0] != "d"))
            if key in merged:
                merged[key].set("d", merged[key].get("d", "") + copy.get("d", ""))
                continue
            merged[key] = copy
        kept.append(copy)
    return kept


def _visible(name: str, shape: ElementTree.Element) -> bool:
    if shape.get("display") == "none" or shape.get("opacity") == "0":
        return False
    if name in ("text", "tspan"):
        return True
    paints = (shape.get("fill", "none"), shape.get("stroke", "none"))
    return any(paint not in ("none", "transparent") for paint in paints)


def _short(value: str) -> str:
    """Round to a hundredth of a pixel."""
    return _LONG.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
