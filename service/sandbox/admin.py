"""Switches of the sandbox over HTTP, under `/_sandbox` on each platform's address, without credentials."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from service.sandbox.clock import Clock, iso_micro, parse_iso
from service.sandbox.exchange import Call, Handler, Refusal, Reply
from service.sandbox.faults import Fault, Faults
from service.sandbox.journal import Entry, Journal

NOT_ASKED = ("platform", "action", "id", "struck")
"""Fields of a Fault that an admin call does not set."""


class Console(Protocol):
    """A platform's state: its settings, and the methods that may be called from outside."""

    CONSOLE: frozenset[str]
    settings: Any


def handler(platform: str, state: Console, shared: tuple[Clock, Journal, Faults]) -> Handler:
    """Answers (400 for what is unknown or of the wrong type, before anything is changed):

    - `GET /_sandbox/health`
    - `GET|POST|DELETE /_sandbox/faults`: list; add one (JSON: the fields of Fault but `platform`, `action`); clear all
      of this platform, or `?id=`
    - `GET /_sandbox/journal?since=&writes=true&platform=` → `{"mark", "counts", "entries"}`
    - `GET|PATCH /_sandbox/settings`
    - `GET|POST /_sandbox/clock` `{"advance": seconds}` or `{"set": ISO}` → `{"now"}`
    - `GET|POST /_sandbox/console`: the console methods; call one, `{"method", "args", "kwargs"}`, `at` as ISO text
    """
    clock, journal, faults = shared
    actions: dict[str, Callable[[Call], Any]] = {
        "health": lambda call: {"platform": platform},
        "faults": lambda call: _faults(platform, faults, call),
        "journal": lambda call: _journal(journal, call),
        "settings": lambda call: _settings(state.settings, call),
        "clock": lambda call: _clock(clock, call),
        "console": lambda call: _console(state, call),
    }

    def answer(call: Call) -> Reply:
        name = call.path.removeprefix("/_sandbox").strip("/")
        if name not in actions:
            raise Refusal(404, f"One of: {', '.join(actions)}.")
        try:
            return Reply(200, actions[name](call))
        except (TypeError, ValueError, KeyError) as error:
            raise Refusal(400, f"{type(error).__name__}: {error}") from error

    return answer


def _faults(platform: str, faults: Faults, call: Call) -> Any:
    if call.method == "POST":
        allowed = {each.name for each in fields(Fault)} - set(NOT_ASKED)
        return _fault_shown(faults.add(Fault(platform=platform, **_checked(Fault, allowed, call.fields()))))
    if call.method == "DELETE":
        faults.clear(platform, int(call.query["id"]) if "id" in call.query else None)
    return {"faults": [_fault_shown(each) for each in faults.listed() if each.platform == platform]}


def _fault_shown(fault: Fault) -> dict[str, Any]:
    return {each.name: getattr(fault, each.name) for each in fields(fault) if each.name != "action"}


def _journal(journal: Journal, call: Call) -> Any:
    since, platform = int(call.query.get("since", 0)), call.query.get("platform")
    chosen = journal.writes if call.query.get("writes") == "true" else journal.entries
    return {
        "mark": journal.mark(),
        "counts": journal.counts(since, platform),
        "entries": [_entry_shown(each) for each in chosen(since, platform)],
    }


def _entry_shown(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "at": iso_micro(entry.at)}


def _settings(settings: Any, call: Call) -> Any:
    if call.method == "PATCH":
        known = [each.name for each in fields(settings)]
        for name, value in _checked(type(settings), known, call.fields()).items():
            setattr(settings, name, value)
    return asdict(settings)


def _checked(kind: type, allowed: Iterable[str], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was asked, of the types that the dataclass names: a wrong one would show only when it is used."""
    if unknown := asked.keys() - set(allowed):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; one of {', '.join(sorted(allowed))}")
    hints = get_type_hints(kind)
    for name, value in asked.items():
        if not _fits(hints[name], value):
            wanted = hints[name].__name__ if isinstance(hints[name], type) else str(hints[name]).replace("typing.", "")
            raise ValueError(f"{name}: {value!r} is no {wanted}")
    return asked


def _fits(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    kinds = get_args(hint) or (hint,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)


def _clock(clock: Clock, call: Call) -> Any:
    change = call.fields()
    if "set" in change:
        clock.set(parse_iso(change["set"]))
    clock.advance(float(change.get("advance", 0)))
    return {"now": iso_micro(clock.now())}


def _console(state: Console, call: Call) -> Any:
    if call.method == "GET":
        return {"methods": {name: _described(getattr(state, name)) for name in sorted(state.CONSOLE)}}
    asked = call.fields()
    if asked.get("method") not in state.CONSOLE:
        raise ValueError(f"method: one of {', '.join(sorted(state.CONSOLE))}")
    kwargs: dict[str, Any] = dict(asked.get("kwargs", {}))
    at: str | datetime | None = kwargs.get("at")
    if isinstance(at, str):
        kwargs["at"] = parse_iso(at)
    return {"result": getattr(state, asked["method"])(*asked.get("args", []), **kwargs)}


def _described(method: Callable[..., Any]) -> str:
    signature = inspect.signature(method).replace(return_annotation=inspect.Signature.empty)
    return f"{signature} {inspect.getdoc(method) or ''}"
