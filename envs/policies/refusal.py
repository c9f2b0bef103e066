"""Why a request to a server came to nothing, and what follows from it.

Servers say the same thing in many ways; what is known of them is here, and nowhere else.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import APIStatusError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that may be gone the next time; other ones from 500 on too."""
SAYS_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "max_model_len",
    "prompt is too long",
    "input is too long",
    "reduce the length",
    "too many tokens",
)
"""What OpenAI, vLLM, SGLang, llama.cpp, TGI and their like say of a conversation that doesn't fit."""
ENDS_RUN: Mapping[int, str] = {
    401: "the server refuses the key: set OPENAI_API_KEY to one of its own",
    402: "nothing is left to pay with",
    403: "the key has no right to this model",
    404: "there is no such model, or no server of this kind at this address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What went wrong with one request. `after` are the seconds that the server wants to be left alone for.

    `failed`: the server is to blame, and may be sick. `about_request`: it will refuse this very request again.
    `too_long`: because the conversation doesn't fit. `ends_run`: it will refuse any request.
    """

    text: str
    after: float | None = None
    failed: bool = True
    about_request: bool = False
    too_long: bool = False
    ends_run: bool = False


def refusal(error: Exception) -> Refusal:
    """What an exception of the `openai` library, or an answer that can't be read, means."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
        return Refusal(text=_line(f"{type(cause).__name__}: {cause}" if cause is not error else str(error)))
    status, said = error.status_code, _said(error)
    lower = said.lower()
    if status == 413 or (status < 500 and any(words in lower for words in SAYS_TOO_LONG)):
        return Refusal(text=said, failed=False, about_request=True, too_long=True)
    if status in ENDS_RUN or "insufficient_quota" in lower:
        advice = ENDS_RUN.get(status, ENDS_RUN[402])
        return Refusal(text=f"{advice}. It says: {said}", failed=False, ends_run=True)
    if status in AGAIN or status >= 500:
        return Refusal(text=said, failed=status >= 500, after=retry_after(error.response.headers))
    return Refusal(text=said, failed=False, about_request=True)


def _said(error: "APIStatusError") -> str:
    """What a server says. The library knows OpenAI's form of an error; of any other it keeps the status only."""
    if error.code:
        return _line(f"{error.code}: {error.message}")
    if error.message == f"Error code: {error.status_code}" and error.response.text:
        return _line(f"{error.message}, {error.response.text}")
    return _line(error.message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How long a server wants to be left alone, in seconds; None where it doesn't say so."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        given = headers.get(name, "")
        try:
            seconds = float(given) * scale
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except ValueError:
        return None


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}..."
