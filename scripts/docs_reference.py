"""Pages of results and reasons, and of hooks and events."""

from __future__ import annotations

import inspect
from typing import Any

from docs_markdown import cell, page, table

from phoenixdkim import events, hookspecs
from phoenixdkim.config.values import NEVER_SIGNED
from phoenixdkim.dkim.addresses import ADDRESS_FAULTS
from phoenixdkim.dkim.advice import ADVICE, UNSIGNED_ADVICE
from phoenixdkim.dkim.results import REASONS, UNSIGNED_REASONS, Result
from phoenixdkim.dkim.signed_fields import SIGNED_FIELDS, Coverage
from phoenixdkim.dkim.verify import PRECEDENCE
from phoenixdkim.policy import Disposition

RESULTS = {
    Result.PASS: "a signature is valid: its domain answers for the message",
    Result.FAIL: "the key was had, and message or signature do not match it: changed on the way, or forged",
    Result.NONE: "the message has no signature",
    Result.NEUTRAL: "the signature uses what is not known here, and is ignored",
    Result.POLICY: "the signature is not accepted here, or was not looked at, by an option or a limit",
    Result.TEMPERROR: "the key could not be had now; the same message may pass later",
    Result.PERMERROR: "there is no usable key, or the signature can't be evaluated; trying again does not help",
}
DISPOSITIONS = {
    Disposition.ACCEPT: "it goes on its way",
    Disposition.TEMPFAIL: "the client is told to come again (4xx)",
    Disposition.REJECT: "the client is told that it is refused (5xx)",
    Disposition.DISCARD: "it is dropped, and the client believes it delivered",
    Disposition.QUARANTINE: "the MTA holds it for somebody to look at",
}


def reasons() -> str:
    """The page of reasons."""
    verdicts = [
        (f"`{reason}`", str(entry.result), cell(entry.text), cell(ADVICE[reason]), cell(entry.source))
        for reason, entry in REASONS.items()
    ]
    unsigned = [(f"`{reason}`", cell(text), cell(UNSIGNED_ADVICE[reason])) for reason, text in UNSIGNED_REASONS.items()]
    results = [
        (f"`{result}`", RESULTS[result], str(sum(entry.result is result for entry in REASONS.values())))
        for result in PRECEDENCE
    ]
    return page(
        "Results and reasons",
        "Each signature's verdict has a reason. It stands in the summary line (`reason=`), its words in"
        " Authentication-Results. Each message that was not signed has one too (`unsigned=`, and the label of"
        " `phoenixdkim_unsigned_messages_total`).",
        "## Results\n\n"
        + table(("result", "meaning", "reasons"), results)
        + "\nA message with several signatures has the result of the one that stands first in this table; among equals"
        " the upper signature counts. This result is in the summary line (`result=`), decides what is done with the"
        " message (`verifying.on_fail` and its like) and is counted in `phoenixdkim_verifications_total`. Every"
        " signature has its own clause in Authentication-Results, and is counted in"
        " `phoenixdkim_signature_verifications_total`.\n",
        "## Reasons of verdicts\n\n" + table(("reason", "result", "words", "what to do", "source"), verdicts),
        "## Reasons for not signing\n\n" + table(("reason", "meaning", "what to do"), unsigned),
        "## Faults of a From field\n\n"
        + "With `unsigned=invalid_from` the summary line says what is wrong with the field (`from=`). Exactly one"
        " address in angle brackets decides alone, whatever the display name contains; quoted strings and comments are"
        " never read as addresses. Without brackets, or with several addresses in them, all addresses must lead to the"
        " same keys.\n\n"
        + table(("fault", "meaning"), [(f"`{fault}`", cell(text)) for fault, text in ADDRESS_FAULTS.items()]),
        "## What is done with a message\n\n"
        + "Set by `verifying.on_fail` and its like, and by `milter.on_internal_error`.\n\n"
        + table(
            ("disposition", "meaning"),
            [(f"`{disposition}`", DISPOSITIONS[disposition]) for disposition in Disposition],
        ),
    )


COVERAGES = {
    Coverage.OVERSIGNED: "Named once more than they occur, also when they are absent: any field of this name that is"
    " added breaks the signature.",
    Coverage.OVERSIGNED_IF_PRESENT: "Named once more than they occur when they are present, and not at all when they"
    " are absent: a second one breaks the signature, but a hop may add the first one.",
    Coverage.SIGNED: "Named as often as they occur: a change breaks the signature, and another one may be added.",
}


def signed_fields() -> str:
    """The page of header fields that are signed by default."""
    sections = [
        f"## `signing.{coverage}`\n\n{COVERAGES[coverage]}\n\n"
        + table(
            ("field", "reason"),
            [(row.name.decode(), cell(row.reason)) for row in SIGNED_FIELDS if row.coverage is coverage],
        )
        for coverage in Coverage
    ]
    return page(
        "Signed header fields",
        "For administrators who change which header fields are signed. Each field is in the section of the strictest"
        " option that names it by default; `signing.signed_headers` has all of them, so that emptying another list"
        " leaves its fields signed. From is always oversigned.",
        "Never signed, as relays change or add them (RFC 6376 section 5.4): "
        + ", ".join(NEVER_SIGNED)
        + ". `check` refuses these names in the three lists, and reports a field whose place in"
        " `oversigned_if_present` has no effect because `oversigned_headers` has it too.",
        *sections,
    )


def hooks() -> str:
    """The page of hooks, for authors of exporters."""
    parts = [
        f"An exporter is a class named by an entry point of group `{hookspecs.ENTRY_POINT_GROUP}`. It has"
        f" `api_version = {hookspecs.API_VERSION}` and marks its hooks with `hookimpl` of `phoenixdkim.hookspecs`.",
        "## Hooks",
    ]
    for name, hook in hook_functions():
        parts.append(f"### `{name}`\n\n```python\n{_signature(name, hook)}\n```\n\n{inspect.getdoc(hook)}")
    parts.append("## Context")
    for name, member in vars(hookspecs.Context).items():
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and callable(function):
            code = name if isinstance(member, property) else _signature(name, function)
            parts.append(f"### `{name}`\n\n```python\n{code}\n```\n\n{inspect.getdoc(function)}")
    parts.append("## Events")
    for event in event_classes():
        labels = [
            (f"`{name}`", ", ".join(str(member.value) for member in kind)) for name, kind in event.label_enums().items()
        ]
        measure = f"Has a measure: {event.measure.name}, in seconds.\n\n" if event.measure else ""
        text = f"### `{event.__name__}`\n\n{inspect.getdoc(event)}\n\n{measure}"
        parts.append(text + (table(("label", "values"), labels) if labels else ""))
    return page("Hooks and events", *parts)


def hook_functions() -> list[tuple[str, Any]]:
    """All hooks, in order of their specification."""
    return [(name, hook) for name, hook in vars(hookspecs.HookSpecs).items() if name.startswith("phoenixdkim_")]


def event_classes() -> list[type[events.Event]]:
    """All events, in order of definition."""
    found = [kind for kind in vars(events).values() if inspect.isclass(kind) and issubclass(kind, events.Event)]
    return [kind for kind in found if kind is not events.Event]


def _signature(name: str, function: Any) -> str:
    found = inspect.signature(function)
    kept = [parameter for parameter in found.parameters.values() if parameter.name != "self"]
    arguments = ", ".join(
        f"{entry.name}: {entry.annotation}" + ("" if entry.default is entry.empty else f" = {entry.default!r}")
        for entry in kept
    )
    return f"{name}({arguments}) -> {found.return_annotation}"
