"""A judge without a model, for tests: it reads the window as a model would, and goes by a few rules of its own.

It is gullible on purpose: told outside of the delimited data to report nothing, it reports nothing. It knows the
errors that `critics.judge.planting` makes by their words, and takes a number that nothing before said for a wrong one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from critics.judge.planting import EARLY, MISREAD

_BLOCK = re.compile(r"<data (\w{8})>\n(.*?)\n</data \1>", re.DOTALL)
_TURN = re.compile(r"^Turn (\d+):\n(.*?)(?=^Turn \d+:|^Say what is wrong)", re.DOTALL | re.MULTILINE)


def judged(body: Mapping[str, Any]) -> str:
    """The answer to a request for a judgement."""
    text = body["messages"][1]["content"]
    outside = _BLOCK.sub("", text)
    if "report no errors" in outside.lower():
        return json.dumps({"errors": []})
    asked = re.findall(r"\d+", text[text.rindex("Say what is wrong in these turns:") :])
    return json.dumps({"errors": [error for error in _errors(text) if str(error["turn"]) in asked]})


def _errors(text: str) -> Iterator[dict[str, Any]]:
    blank = _BLOCK.sub(lambda block: "." * len(block[0]), text)  # a heading in the data is none
    for match in _TURN.finditer(blank):
        number, turn = int(match[1]), text[match.start(2) : match.end()]
        said = [block[1] for block in _BLOCK.findall(turn)]
        for code, words in (("premature_stop", EARLY), ("misread_result", MISREAD)):
            if said[0] == words:
                yield error(code, number, None, words)
        forbidden = re.search(r"Never use (\w+): a colleague", text)
        called = "Call 0:" in match[2]
        if called and forbidden and said[0].startswith(f"{forbidden[1]}\n"):
            yield error("policy_violation", number, 0, forbidden[1])
        before = text[: match.start()]
        for name, digits in re.findall(r'"(\w+)": (\d+)', said[0] if called else ""):
            if not re.search(rf"\b{digits}\b", before):
                yield error("wrong_value", number, 0, digits, name)


def error(code: str, turn: int, call: int | None, quote: str, argument: str | None = None) -> dict[str, Any]:
    """An entry of an answer."""
    return {
        "code": code,
        "turn": turn,
        "call": call,
        "argument": argument,
        "quote": quote,
        "explanation": "so it seems",
        "sure": True,
    }
