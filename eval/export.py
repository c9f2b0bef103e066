"""What replay shows as a file to send to others: .svg, .html, .txt, or an asciinema cast (.cast).

The cast is version 2 of its format: a line with a header, then a line an event. It has no time of day in it, so
that the same trajectories give the same file. Left out: pages with figures (`eval.report`).
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import DIMMED_MONOKAI, SVG_EXPORT_THEME

from tools.command import InputError

WIDTH, HEIGHT = 100, 32
KINDS = (".svg", ".html", ".txt", ".cast")
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Where an SVG of rich looks for its font: on the network, which a file to send to others must do without."""
PAUSE = 1.5
"""Seconds between two parts of a cast."""


def export(parts: Iterable[RenderableType], path: Path, *, title: str, width: int = WIDTH) -> None:
    """Write the parts in the form that the file's ending names. Raises InputError for another ending, or no place."""
    if path.suffix not in KINDS:
        raise InputError(f"expected a file that ends with {', '.join(KINDS)}, came {path}")
    try:
        with path.open("w", encoding="utf-8") as file:
            for text in _written(parts, path.suffix, title, width):
                file.write(text)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}") from error


def _written(parts: Iterable[RenderableType], kind: str, title: str, width: int) -> Iterator[str]:
    if kind == ".cast":
        yield from _cast(parts, title, width)
    elif kind == ".txt":
        for part in parts:
            console = _console(width, color=False)
            console.print(part)
            yield _text(console)
    else:
        console = _console(width)
        for part in parts:
            console.print(part)
        if kind == ".svg":
            yield _FONTS.sub("", console.export_svg(title=title, theme=SVG_EXPORT_THEME))
        else:
            yield console.export_html(theme=DIMMED_MONOKAI, inline_styles=True)


def _cast(parts: Iterable[RenderableType], title: str, width: int) -> Iterator[str]:
    yield json.dumps({"version": 2, "width": width, "height": HEIGHT, "title": title}) + "\n"
    for number, part in enumerate(parts):
        console = _console(width)
        console.print(part)
        yield json.dumps([round(number * PAUSE, 2), "o", _text(console).replace("\n", "\r\n")]) + "\n"


def _console(width: int, *, color: bool = True) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=HEIGHT, record=True, highlight=False, markup=False, emoji=False,
        force_terminal=color, color_system="truecolor" if color else None, legacy_windows=False, _environ={},
    )  # fmt: skip


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
