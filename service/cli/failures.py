"""How a command ends: its exit code, and for whatever went wrong one clear message on standard error.

Standard output stays untouched: behind `--format json` it holds one document or nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click

from service.cli.context import Context
from service.errors import BridgeError, SettingsError
from service.text import clean

FAILED = 1
INTERRUPTED = 130


def exit_code_of(run: Callable[[], Any], shared: Context) -> int:
    """What the process ends with after `run`, whose result is an exit code or None."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding does not have is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = run()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        return _aborted(error)
    except BrokenPipeError:
        _drop_standard_output()
        return FAILED
    except BaseExceptionGroup as group:
        return _report_group(group, shared)
    except BridgeError as error:
        return _report(error)
    except Exception as error:
        return _unexpected(error, shared)
    finally:
        shared.close()


def _aborted(error: BaseException) -> int:
    # click turns both Ctrl-C and the end of input at a question into Abort, and hides which it was in its context.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    click.echo("aborted", err=True)
    return FAILED


def _drop_standard_output() -> None:
    """The reader has gone (`| head`): what is still buffered must not raise again when Python ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _report(error: BridgeError) -> int:
    if isinstance(error, SettingsError):
        for problem in error.problems:
            click.echo(f"Error: {clean(problem)}", err=True)
    else:
        click.echo(f"Error: {clean(str(error))}", err=True)
    if error.hint and error.hint not in str(error):
        click.echo(f"Next: {clean(error.hint)}", err=True)
    return error.exit_code


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _report_group(group: BaseExceptionGroup[BaseException], shared: Context) -> int:
    """Tasks that ran side by side may fail together; each message is shown once."""
    leaves = list(_leaves(group))
    if any(isinstance(error, KeyboardInterrupt) for error in leaves):
        return _aborted(KeyboardInterrupt())
    distinct = {str(error): error for error in leaves if isinstance(error, BridgeError)}
    codes = [_report(error) for error in distinct.values()]
    for error in leaves:
        if not isinstance(error, BridgeError):
            codes.append(_unexpected(error, shared))
    return max(codes)


def _unexpected(error: BaseException, shared: Context) -> int:
    """A defect of ours. Its message may hold anything, so only its kind and place are shown, and the scrubbed rest
    only to those who asked for it."""
    kind = type(error).__name__
    shared.report(error)
    click.echo(f"Error: unexpected {kind}{_place(error)}", err=True)
    settings = shared.loaded_settings
    if settings is None or settings.log.level != "debug":
        click.echo("Next: run it again with BRIDGE_LOG__LEVEL=debug and report what it says", err=True)
        return FAILED
    import traceback

    from service.logs import Scrub

    text = "".join(traceback.format_exception(error))
    click.echo(Scrub(settings.secrets()).text(text, lines=True), err=True)
    return FAILED


def _place(error: BaseException) -> str:
    """` in service/cycle.py line 80`: the innermost frame of our own."""
    found, frame = "", error.__traceback__
    while frame is not None:
        _, ours, name = frame.tb_frame.f_code.co_filename.replace(os.sep, "/").rpartition("/service/")
        if ours:
            found = f" in service/{name} line {frame.tb_lineno}"
        frame = frame.tb_next
    return found
