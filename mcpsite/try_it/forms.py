"""A form made of a tool's input schema. It reads what was typed; whether that is valid the server itself says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from django import forms

from mcpsite.try_it.conversation import LEGACY, MODERN
from sessions_dynamo.errors import InvalidState
from sessions_dynamo.store import values

PREFIX: Final = "arg"
"""Of the arguments' field names, so that a tool may call an argument ``tool`` or ``era``."""
UNSET: Final = ""


class CallForm(forms.Form):
    """How to call: the era and, in the older one, the session."""

    era = forms.ChoiceField(
        choices=[(MODERN, f"{MODERN}: each request stands alone"), (LEGACY, f"{LEGACY}: in a session")],
        label="Protocol revision",
        initial=MODERN,
    )
    session = forms.CharField(
        required=False,
        label="Session",
        help_text=f"With {LEGACY} only. An existing session's id; empty opens a new one.",
        max_length=200,
    )


class RawForm(forms.Form):
    """The arguments as one JSON object."""

    raw = forms.CharField(widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}), label="Arguments, as JSON")

    def clean_raw(self) -> dict[str, Any]:
        value = parse_json(self.cleaned_data["raw"])
        if not isinstance(value, dict):
            raise forms.ValidationError('Write one JSON object, such as {"key": "name"}.')
        return value


class ArgumentsForm(forms.Form):
    """One field for each property of a JSON Schema object; a field that is left empty is not sent."""

    def __init__(self, schema: Mapping[str, Any], data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, prefix=PREFIX, **kwargs)
        properties = schema.get("properties")
        required = set(schema.get("required") or ())
        for name, given in (properties if isinstance(properties, dict) else {}).items():
            prop = _resolved(given if isinstance(given, dict) else {}, schema)
            self.fields[name] = field = _field(name, prop, is_required=name in required)
            field.is_needed = name in required  # type: ignore[attr-defined]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments to send, of a valid form."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None}


class TextArgument(forms.CharField):
    """A string. Left empty it is sent as an empty string where one is required, else not at all."""

    def __init__(self, *, is_required: bool, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, empty_value="" if is_required else None, **kwargs)


class JsonArgument(forms.CharField):
    """Any JSON value, typed as JSON text."""

    def __init__(self, expected: str = "", *, is_required: bool, **kwargs: Any) -> None:
        super().__init__(required=is_required, empty_value=None, **kwargs)
        self.expected = expected

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return None if text is None else Sent(parse_json(text))


class ChoiceArgument(forms.TypedChoiceField):
    """One of some JSON values."""

    def __init__(self, allowed: list[Any], *, is_required: bool, **kwargs: Any) -> None:
        texts = [json.dumps(value, ensure_ascii=False) for value in allowed]
        labels = [value if isinstance(value, str) else text for value, text in zip(allowed, texts, strict=True)]
        super().__init__(
            choices=[(UNSET, "not sent"), *zip(texts, labels, strict=True)],
            coerce=lambda text: Sent(json.loads(text)),
            empty_value=None,
            required=is_required,
            **kwargs,
        )


class Sent:
    """A value that is sent whatever it is: ``null`` and ``false`` are values too."""

    def __init__(self, value: Any) -> None:
        self.value = value


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every ``Sent`` replaced by its value."""
    return {name: value.value if isinstance(value, Sent) else value for name, value in arguments.items()}


def parse_json(text: str) -> Any:
    """The value of a JSON text; raises ``ValidationError`` with the place of the mistake.

    For what JSON cannot hold, too: Python reads ``NaN``, lone surrogates, and more levels than can be sent.
    """
    try:
        value = json.loads(text)
        values.dumps(value)
        return value
    except InvalidState as exc:
        raise forms.ValidationError(str(exc)) from exc
    except ValueError as exc:
        raise forms.ValidationError(f'This is not JSON: {exc}. A string needs quotes, such as "text".') from exc
    except RecursionError as exc:
        raise forms.ValidationError("This JSON is nested too deeply.") from exc


def _field(name: str, prop: Mapping[str, Any], *, is_required: bool) -> forms.Field:
    hint = str(prop.get("description") or "")
    common: dict[str, Any] = {"label": name, "is_required": is_required}
    kind = prop.get("type")
    if "const" in prop or isinstance(prop.get("enum"), list):
        choices = prop["enum"] if isinstance(prop.get("enum"), list) else [prop["const"]]
        initial = json.dumps(prop["default"], ensure_ascii=False) if "default" in prop else UNSET
        return ChoiceArgument(choices, help_text=hint, initial=initial, **common)
    if kind == "boolean":
        initial = json.dumps(prop["default"]) if "default" in prop else UNSET
        return ChoiceArgument([True, False], help_text=hint, initial=initial, **common)
    default = prop.get("default")
    if kind == "string":
        return TextArgument(help_text=hint, initial=default, **common)
    initial = UNSET if default is None else json.dumps(default, ensure_ascii=False)
    if kind in ("integer", "number"):
        field = JsonArgument(kind, help_text=hint, initial=initial, **common)
        field.widget.attrs["inputmode"] = "decimal"
        return field
    shape = f"JSON {kind}" if isinstance(kind, str) else "JSON"
    return JsonArgument(
        shape,
        help_text=f"{hint} {shape}.".strip(),
        initial=initial,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        **common,
    )


def _resolved(prop: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 8) -> dict[str, Any]:
    """A property with its local ``$ref`` followed, and of a choice with ``null`` the other alternative."""
    if depth == 0:
        return {}
    if isinstance(reference := prop.get("$ref"), str):
        target: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        rest = {name: value for name, value in prop.items() if name != "$ref"}
        return _resolved({**(target if isinstance(target, dict) else {}), **rest}, schema, depth - 1)
    for keyword in ("anyOf", "oneOf"):
        alternatives = prop.get(keyword)
        if not isinstance(alternatives, list):
            continue
        others = [each for each in alternatives if isinstance(each, dict) and each.get("type") != "null"]
        if len(others) == 1:
            rest = {name: value for name, value in prop.items() if name != keyword}
            return _resolved({**others[0], **rest}, schema, depth - 1)
    kind = prop.get("type")
    if isinstance(kind, list) and len(named := [each for each in kind if each != "null"]) == 1:
        return {**prop, "type": named[0]}
    return dict(prop)
