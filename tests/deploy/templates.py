"""Templates of ``deploy/`` as their tools read them."""

from __future__ import annotations

import json
import re
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


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of each resource of a type, by logical id."""
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


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


NO_VALUE = object()
PSEUDO = {"AWS::Region": "eu-west-1", "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": "sessions"}


def resolved(value: Any, template: dict[str, Any], parameters: dict[str, str]) -> Any:
    """A value as CloudFormation hands it over: of the functions that these templates use, with given parameters."""
    defaults = {name: given.get("Default") for name, given in template["Parameters"].items()}

    def named(name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in template["Parameters"]:
            return str(parameters.get(name, defaults[name]))
        if (resource := template["Resources"].get(name)) is not None:
            properties = resource["Properties"]
            # What AWS calls it; where a template has no name for it, its logical id stands for that.
            given = next((properties[key] for key in ("TableName", "FunctionName") if key in properties), name)
            return str(evaluated(given))
        return PSEUDO[name]

    def evaluated(value: Any) -> Any:
        if isinstance(value, list):
            return [evaluated(each) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            match function:
                case "Ref":
                    return named(argument)
                case "Fn::Sub":
                    return re.sub(r"\$\{([\w:]+)\}", lambda found: named(found[1]), argument)
                case "Fn::Join":
                    joined = evaluated(argument[1])
                    return joined if isinstance(joined, str) else argument[0].join(joined)
                case "Fn::Equals":
                    first, second = map(evaluated, argument)
                    return str(first) == str(second)
                case "Fn::Not":
                    return not evaluated(argument[0])
                case "Fn::If":
                    condition, then, otherwise = argument
                    return evaluated(then if evaluated(template["Conditions"][condition]) else otherwise)
        found = {name: evaluated(each) for name, each in value.items()}
        return {name: each for name, each in found.items() if each is not NO_VALUE}

    return evaluated(value)
