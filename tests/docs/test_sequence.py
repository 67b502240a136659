"""Diagrams are drawn from Mermaid's words; what is not understood is an error of the build, never a wrong picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from docs_site.sequence import draw

SVG = "{http://www.w3.org/2000/svg}"
DIAGRAM = """\
sequenceDiagram
accTitle: A call & its answer
participant C as Client
participant W as Worker
C->>W: POST
W->>W: runs the tool
W--xC: answer, lost
Note over C,W: first<br/>second
"""


def _texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_text_is_in_the_picture_in_its_order() -> None:
    assert _texts(draw(DIAGRAM)) == [
        "Client",
        "Worker",
        "POST",
        "runs the tool",
        "answer, lost",
        "first",
        "second",
    ]


def test_the_picture_has_words_for_who_cannot_see_it() -> None:
    root = ET.fromstring(draw(DIAGRAM))
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{SVG}title") == "A call & its answer"


def test_nothing_lies_outside_of_the_picture() -> None:
    wide = DIAGRAM + "Note over W: " + "wide " * 20 + "\nNote over C: " + "wide " * 20 + "\n"
    root = ET.fromstring(draw(wide))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rectangle in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y >= 0
        assert y + h <= height


def test_a_message_has_an_arrow_of_its_kind() -> None:
    svg = draw(DIAGRAM)
    assert svg.count('class="head"') == 2
    assert svg.count('class="cross"') == 1
    assert svg.count('class="message dashed"') == 1


@pytest.mark.parametrize(
    ("line", "what"),
    [("loop for ever", "not understood"), ("C->>X: hello", "no participant"), ("C->W: open", "not understood")],
)
def test_what_is_not_drawn_is_refused(line: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        draw(DIAGRAM + line)


def test_another_diagram_and_one_without_words_are_refused() -> None:
    with pytest.raises(ValueError, match="only sequenceDiagram"):
        draw("flowchart TB\na-->b")
    with pytest.raises(ValueError, match="accTitle"):
        draw("sequenceDiagram\nparticipant A\nA->>A: x")
