"""The page of the IAM policies: what their folder says of them, and the policies themselves."""

from __future__ import annotations

from docs_site.markdown import ROOT, page_of


def text() -> str:
    """The page, in Markdown."""
    policies = sorted((ROOT / "deploy" / "iam").glob("*.json"))
    parts = [f"### {path.stem}\n\n`{path.relative_to(ROOT)}`\n\n```json\n{path.read_text()}```\n" for path in policies]
    return "\n".join([page_of("deploy/iam/README.md"), "## The policies\n", *parts])
