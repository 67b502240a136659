"""The page: the tools, one tool's form, and after a call the exchange."""

from __future__ import annotations

import json
from typing import Any, cast

from django.contrib.admin.models import CHANGE
from django.http import HttpRequest, HttpResponse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from mcpsite.try_it import conversation
from mcpsite.try_it.conversation import LEGACY, ListingFailed, Tool
from mcpsite.try_it.exchange import MAX_SHOWN, Caller, Exchange
from mcpsite.try_it.forms import PREFIX, ArgumentsForm, CallForm, RawForm, plain
from sessions_dynamo.models import Session
from sessions_dynamo.staff import shell

TEMPLATE = "try_it/page.html"


@shell.page("change_session")
@require_http_methods(["GET", "HEAD", "POST"])
def try_it(request: HttpRequest) -> HttpResponse:
    """``?tool=`` shows a tool's form, filled from ``arg-<name>``, ``era`` and ``session``; a POST calls it."""
    caller = Caller(cast("int", request.user.pk))
    try:
        tools = conversation.list_tools(caller)
    except ListingFailed as exc:
        return shell.problem(
            request, "The tools cannot be listed", f"The served MCP server answered: {exc}", status=502
        )
    name = request.GET.get("tool", "")
    tool = next((tool for tool in tools if tool.get("name") == name), None)
    context: dict[str, Any] = {"tools": tools, "caller": caller, "tool": tool, "unknown": bool(name) and tool is None}
    if tool is None:
        return shell.render(request, TEMPLATE, context, title="Try it", status=404 if context["unknown"] else 200)
    schema = tool.get("inputSchema") or {}
    context["schema_text"] = json.dumps(schema, ensure_ascii=False, indent=2)[:MAX_SHOWN]
    if request.method == "POST":
        return _call(request, caller, tool, context)
    given = request.GET
    initial = {key.removeprefix(f"{PREFIX}-"): value for key, value in given.items() if key.startswith(f"{PREFIX}-")}
    context |= {
        "call_form": CallForm(initial={name: given[name] for name in ("era", "session") if name in given}),
        "arguments_form": ArgumentsForm(schema, initial=initial),
        "raw_form": RawForm(initial={"raw": given.get("raw", "{}")}),
        "is_raw": "raw" in given,
    }
    return shell.render(request, TEMPLATE, context, title="Try it")


def _call(request: HttpRequest, caller: Caller, tool: Tool, context: dict[str, Any]) -> HttpResponse:
    is_raw = request.POST.get("input") == "raw"
    schema = tool.get("inputSchema") or {}
    call_form = CallForm(request.POST)
    raw_form = RawForm(request.POST) if is_raw else RawForm(initial={"raw": "{}"})
    arguments_form = ArgumentsForm(schema) if is_raw else ArgumentsForm(schema, request.POST)
    context |= {"call_form": call_form, "arguments_form": arguments_form, "raw_form": raw_form, "is_raw": is_raw}
    given = raw_form if is_raw else arguments_form
    if not (call_form.is_valid() and given.is_valid()):
        return shell.render(request, TEMPLATE, context, title="Try it", status=422)
    arguments = raw_form.cleaned_data["raw"] if is_raw else plain(arguments_form.arguments)
    era, session_id = call_form.cleaned_data["era"], call_form.cleaned_data["session"].strip()
    name = str(tool["name"])
    if era == LEGACY:
        exchanges = conversation.call_legacy(caller, name, arguments, session_id)
    else:
        exchanges = conversation.call_modern(caller, name, arguments)
    touched = conversation.touched_session(exchanges)
    # The tool, and never its arguments: they may hold anything.
    shell.record(request, Session, touched, CHANGE, f"Called the tool {name[:100]} from the staff pages")
    context |= {
        "exchanges": exchanges,
        "outcome": _outcome(exchanges[-1] if not exchanges[-1].title.startswith("Cancel") else exchanges[-2]),
        "touched": touched,
        "share": _share(request, name, era, session_id, arguments),
    }
    return shell.render(request, TEMPLATE, context, title="Try it")


def _outcome(exchange: Exchange) -> tuple[str, str]:
    """What became of the call, as a word and its tone."""
    if "error" in exchange.answer:
        return "error", "bad"
    result = exchange.answer.get("result")
    if not isinstance(result, dict):
        return "no answer", "warn"
    return ("tool error", "bad") if result.get("isError") else ("ok", "good")


def _share(request: HttpRequest, tool: str, era: str, session_id: str, arguments: dict[str, Any]) -> str:
    """A link that fills the form as it was sent; opening it calls nothing. Empty where it would be too long."""
    query = {"tool": tool, "era": era, "session": session_id, "raw": json.dumps(arguments, ensure_ascii=False)}
    link = f"{request.path}?{urlencode({name: value for name, value in query.items() if value})}"
    return link if len(link) <= 4000 else ""
