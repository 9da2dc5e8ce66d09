"""Switches of the sandbox over HTTP, under `/_sandbox` on each platform's address, without credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Protocol

from service.sandbox.clock import Clock, iso_micro, parse_iso
from service.sandbox.exchange import Call, Handler, Refusal, Reply
from service.sandbox.faults import Fault, Faults
from service.sandbox.journal import Entry, Journal


class Console(Protocol):
    """A platform's state: its settings, and the methods that may be called from outside."""

    CONSOLE: frozenset[str]
    settings: Any


def handler(platform: str, state: Console, shared: tuple[Clock, Journal, Faults]) -> Handler:
    """Answers:

    - `GET /_sandbox/health`
    - `GET|POST|DELETE /_sandbox/faults`: list; add one (JSON: the fields of Fault but `platform`, `action`); clear all
      of this platform, or `?id=`
    - `GET /_sandbox/journal?since=&writes=true&platform=` → `{"mark", "counts", "entries"}`
    - `GET|PATCH /_sandbox/settings`
    - `GET|POST /_sandbox/clock` `{"advance": seconds}` or `{"set": ISO}` → `{"now"}`
    - `POST /_sandbox/console` `{"method", "args", "kwargs"}`: one of the console methods; `at` as ISO text
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
        return _fault_shown(faults.add(Fault(platform=platform, **call.fields())))
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
        known = {each.name for each in fields(settings)}
        changes = call.fields()
        if unknown := changes.keys() - known:
            raise KeyError(f"unknown settings {sorted(unknown)}; known: {sorted(known)}")
        for name, value in changes.items():
            setattr(settings, name, value)
    return asdict(settings)


def _clock(clock: Clock, call: Call) -> Any:
    change = call.fields()
    if "set" in change:
        clock.set(parse_iso(change["set"]))
    clock.advance(float(change.get("advance", 0)))
    return {"now": iso_micro(clock.now())}


def _console(state: Console, call: Call) -> Any:
    asked = call.fields()
    if asked.get("method") not in state.CONSOLE:
        raise KeyError(f"one of {sorted(state.CONSOLE)}")
    kwargs: dict[str, Any] = dict(asked.get("kwargs", {}))
    at: str | datetime | None = kwargs.get("at")
    if isinstance(at, str):
        kwargs["at"] = parse_iso(at)
    return {"result": getattr(state, asked["method"])(*asked.get("args", []), **kwargs)}
