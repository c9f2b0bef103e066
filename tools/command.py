"""What the five command lines share: an error of the user's is one sentence, not a stack trace."""

import os
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any


class InputError(ValueError):
    """Something that came from outside is not as it must be: a file, a name, an option. The text says what to do."""


def did_you_mean(came: str, known: Mapping[str, Any] | list[str]) -> str:
    """A clause that names the nearest known word, or all of them where none is near."""
    near = get_close_matches(came, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def run(command: Callable[[], Any]) -> None:
    """Run a command line and exit: 2 after an `InputError`, 130 after Ctrl-C, with one line on standard error."""
    try:
        code = command()
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output is gone. Python flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(code)
