"""Templates of ``deploy/`` as their tools read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
from cfnlint import api
from cfnlint.decode import cfn_yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BODY_BYTES = 51_200
"""Of a template that is sent as it is, not by way of S3."""


def lint(text: str) -> list[str]:
    """What cfn-lint's own command finds, in a region that has every service."""
    return [str(finding) for finding in api.lint(text, regions=["eu-west-1"])]


def load(path: str) -> dict[str, Any]:
    """A template of ``deploy/``, its short forms of functions written out."""
    found: dict[str, Any] = json.loads(json.dumps(cfn_yaml.load(str(DEPLOY / path))))
    return found


def translated(template: dict[str, Any]) -> dict[str, Any]:
    """What CloudFormation makes of a SAM template, when its code was uploaded."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    role = "AWSLambdaBasicExecutionRole"
    managed = {role: f"arn:aws:iam::aws:policy/service-role/{role}"}
    translator = Translator(managed, Parser(), boto_session=boto3.Session(region_name="eu-west-1"))
    made: dict[str, Any] = translator.translate(template, {})
    return made


def references(value: Any) -> set[str]:
    """Every name that ``Ref``, ``Fn::GetAtt`` and ``Fn::Sub`` use in a value, without what AWS itself gives."""
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for name, argument in value.items():
        if name == "Ref":
            found.add(argument)
        elif name == "Fn::GetAtt":
            found.add(argument.partition(".")[0] if isinstance(argument, str) else argument[0])
        elif name == "Fn::Sub":
            text = argument if isinstance(argument, str) else argument[0]
            found |= {part.partition("}")[0].partition(".")[0] for part in text.split("${")[1:]}
        else:
            found |= references(argument)
    return {name for name in found if not name.startswith("AWS::")}
