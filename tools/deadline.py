"""A tool that hangs is cut off.

In the main thread an alarm interrupts it where it is: a loop in Python, a sleep, a read from a socket or a child
process. It can't interrupt a computation inside a library written in C that never comes back to Python; the alarm is
then heard when it does.

In other threads (and on Windows) the tool runs in a thread of its own, which is left behind when the time is up. The
caller goes on in time whatever the tool does, but the tool may still finish its work later; and what belongs to the
caller's thread, such as a `sqlite3` connection, can't be used in it.

Left out: ending a child process that the tool has started; that is the tool's to do.
"""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tools.toolset import InfrastructureFault


class _Cut(BaseException):
    """Raised inside the tool. No Exception, so that a tool's `except Exception` doesn't take it for one of its own."""


def within(seconds: float, function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, which raises InfrastructureFault when it takes longer than so many seconds."""

    def call(**arguments: Any) -> Any:
        try:
            return _limited(seconds, function, arguments)
        except _Cut:
            raise InfrastructureFault(f"tool {name!r} was cut off after {seconds:g} seconds") from None

    return call


def _limited(seconds: float, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    return (_with_alarm if alarm else _in_thread)(seconds, function, arguments)


def _with_alarm(seconds: float, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    running = True

    def cut(*_: Any) -> None:
        if running:  # else the alarm was heard only after the tool had come back
            raise _Cut

    began = time.monotonic()
    earlier_delay = interval = 0.0
    earlier_handler = signal.signal(signal.SIGALRM, cut)
    try:
        earlier_delay, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
        return function(**arguments)
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier_handler or signal.SIG_DFL)
        if earlier_delay:  # an alarm that somebody else had set goes off when it would have, or at once
            left = earlier_delay - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6), interval)


def _in_thread(seconds: float, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((function(**arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    if not outcome:
        raise _Cut
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
