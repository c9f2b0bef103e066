"""Rules about well-formed calls that the world refuses, and about calls made again."""

from collections.abc import Iterator
from itertools import chain, repeat

from critics.answers import Answer
from critics.attempt import Attempt, asks_the_same, errors_in
from critics.finding import CERTAIN, WARNING, Finding, content_of
from critics.reading import Reading
from critics.rules.registry import rule
from tools import ErrorCode, Violation


@rule(ErrorCode.DOMAIN_REJECTION, of_suspects=True)
def domain_rejection(reading: Reading) -> Iterator[Finding]:
    """A call that the world refuses: it says so, or it answers a call with an error that the schema can't explain.

    An error that only its text tells from a result is a warning.
    """
    for attempt in reading.suspects:
        if not attempt.refused or attempt.result is None or attempt.wording is not None:
            continue
        content = content_of(attempt.result)
        errors = errors_in(content)
        rejections = [error for error in errors if error.get("code") == ErrorCode.DOMAIN_REJECTION]
        if rejections or not attempt.violations:
            said = [error.get("expected") for error in rejections or errors]
            expected = "; ".join(map(str, said)) or content[:200]
            code = ErrorCode.DOMAIN_REJECTION
            violation = Violation(code=code, path="$", expected=expected, came=attempt.arguments)
            confidence = CERTAIN if attempt.answer is Answer.FLAGGED else WARNING
            yield reading.at_violation(attempt, violation, confidence)


@rule(ErrorCode.REPEATED_CALL)
def repeated_call(reading: Reading) -> Iterator[Finding]:
    """A call that was made before with success, while no other call has succeeded since.

    A log doesn't say which tools write, so any other call that succeeded may have changed something, and so may the
    user who speaks again.
    """
    attempts = reading.attempts
    if len({attempt.name for attempt in attempts}) == len(attempts):
        return
    latest: Attempt | None = None
    users = chain(reading.users, repeat(len(reading.trajectory.messages)))
    upcoming = next(users)
    for attempt in attempts:
        while upcoming < attempt.message_index:
            upcoming, latest = next(users), None
        if latest is not None and attempt.name == latest.name and asks_the_same(attempt, latest):
            explanation = f"{attempt.name} was called with these arguments in message {latest.message_index}"
            yield reading.at_call(attempt, ErrorCode.REPEATED_CALL, explanation)
        if attempt.succeeded:
            latest = attempt


@rule(ErrorCode.UNCORRECTED_RETRY, of_suspects=True)
def uncorrected_retry(reading: Reading) -> Iterator[Finding]:
    """A call that failed in the turn before, made again as it was."""
    failed: list[Attempt] = []
    suspicious = {attempt.message_index for attempt in reading.suspects}
    for index, attempts in reading.calling.items():
        for attempt in attempts if failed else ():
            if any(asks_the_same(attempt, earlier) for earlier in failed):
                explanation = f"{attempt.name or 'the call'} failed one turn before, and is made again as it was"
                yield reading.at_call(attempt, ErrorCode.UNCORRECTED_RETRY, explanation)
        failed = [attempt for attempt in attempts if attempt.failed] if index in suspicious else []
