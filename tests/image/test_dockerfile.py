"""The replay itself: it refuses what it does not know, and takes from a folder what ``.dockerignore`` leaves in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.dockerfile import Image, NotUnderstood, build, steps
from tests.image.dockerignore import context_files


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, Image]:
    (tmp_path / "empty").mkdir()
    return {"empty": Image(tmp_path / "empty")}


@pytest.mark.parametrize(
    "line",
    [
        "ADD x /x",
        "ARG LATER=1",
        "CMD a shell's command",
        "COPY --chmod=644 x /x",
        "COPY *.txt /",
        "ENV NAME value",
        "ENV A=$UNKNOWN",
        "ENV A=${UNKNOWN:-default}",
        "FROM nowhere",
        "HEALTHCHECK NONE",
        "ONBUILD RUN true",
        "RUN --mount=type=cache,target=/x true",
        'RUN ["true"]',
        "RUN <<END",
        'SHELL ["/bin/bash"]',
        'VOLUME ["/x"]',
        "lost",
    ],
)
def test_a_line_that_is_not_understood_is_refused(line: str, empty: dict[str, Image], tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "x").touch()
    with pytest.raises(NotUnderstood):
        build(f"FROM empty\n{line}\n", tmp_path / "context", empty, tmp_path)


def test_lines_are_joined_and_comments_left_out() -> None:
    text = "# one\nFROM a AS b\n\nRUN first \\\n    # between\n    && second\n"
    assert [(step.name, step.value) for step in steps(text)] == [
        ("FROM", "a AS b"),
        ("RUN", "first     && second"),
    ]


def test_stages_files_and_variables(empty: dict[str, Image], tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "package").mkdir(parents=True)
    for name in ("one.txt", "package/two.txt", "package/three.pyc"):
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("*\n!one.txt\n!package\n**/*.pyc\n")
    text = """
ARG BASE=nowhere
FROM ${BASE} AS first
ENV ROOM=/room
WORKDIR ${ROOM}
COPY one.txt ./
COPY one.txt ./renamed
COPY . all/
FROM empty
ENV PATH=/mine:$PATH KIND="two words"
COPY --from=first /room /copied
WORKDIR deep
USER 7:8
ENTRYPOINT ["enter"]
CMD ["serve"]
"""
    image = build(text, context, empty, tmp_path, {"BASE": "empty"})
    copied = {path.relative_to(image.root).as_posix() for path in image.root.rglob("*") if path.is_file()}
    assert copied == {"copied/one.txt", "copied/renamed", "copied/all/one.txt", "copied/all/package/two.txt"}
    assert (image.environment["PATH"].split(":")[0], image.environment["KIND"]) == ("/mine", "two words")
    assert (image.directory, image.user, image.entrypoint, image.command) == ("/deep", "7:8", ["enter"], ["serve"])
    # What one stage did is not in the root that another began with.
    assert list(empty["empty"].root.iterdir()) == []


def test_the_last_line_that_matches_decides(tmp_path: Path) -> None:
    for name in ("a/keep.py", "a/drop.txt", "a/b/keep.py", "c.py", "d/e/f.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text("# all but a\n*\n!a\na/*.txt\n**/b\n!d/e\n**/*.pyc\n")
    assert {path.as_posix() for path in context_files(tmp_path)} == {"a/keep.py"}
