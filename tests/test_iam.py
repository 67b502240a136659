"""The policies of ``deploy/iam``, held against every AWS call that this run has made, here and in all children.

This module runs last. Each call has to be allowed to the role of whoever made it; and after a run of the whole suite,
no policy may allow what nothing used.
"""

from __future__ import annotations

import json

import botocore.session
import pytest
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from tests.iam import policies, recorder, session
from tests.iam.findings import POLICIES, Findings, find
from tests.iam.requests import DEPENDENTS

MANAGED_POLICY_CHARACTERS = 6144
"""AWS's limit of a managed policy, without white space."""


@pytest.fixture(scope="module")
def findings(pytestconfig: pytest.Config) -> Findings:
    """What the calls of this run say of the policies."""
    calls = list(recorder.read(session.calls(pytestconfig)))
    if not calls:
        pytest.skip("No AWS call was recorded: run more tests than these.")
    return find(calls)


def test_every_call_is_allowed_by_the_policy_of_its_role(findings: Findings) -> None:
    assert not findings.refused, "\n".join(sorted(findings.refused))


def test_no_policy_allows_what_nothing_used(findings: Findings, pytestconfig: pytest.Config) -> None:
    if reason := session.why_not_whole(pytestconfig):
        pytest.skip(f"NOT PROVED, because {reason}: only a run of the whole suite uses all that the policies allow.")
    assert list(findings.unused()) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_one_that_iam_accepts(policy: str) -> None:
    text = json.dumps(policies.document(policy))

    IAMPolicyDocumentValidator(text).validate()

    assert policies.document(policy)["Version"] == "2012-10-17"
    assert len("".join(text.split())) <= MANAGED_POLICY_CHARACTERS


@pytest.mark.parametrize("policy", POLICIES)
def test_every_action_exists(policy: str) -> None:
    session = botocore.session.get_session()
    dependents = {action for dependent in DEPENDENTS for action in dependent.actions}
    for statement in policies.statements(policy):
        for action in statement.actions:
            service, _, operation = action.partition(":")
            known = session.get_service_model(service).operation_names
            assert operation in known or action in dependents, action


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_allows_actions_by_a_wildcard(policy: str) -> None:
    assert not [action for statement in policies.statements(policy) for action in statement.actions if "*" in action]


def test_there_is_no_policy_beside_these() -> None:
    assert {path.stem for path in policies.DIRECTORY.glob("*.json")} == set(POLICIES)
