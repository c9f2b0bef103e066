"""A report: one file without a network, figures of the run's own summary, and a sentence where there is no data."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from critics import criticize
from critics.rates import measure
from distill.summary import compared
from envs import Archive, Trajectory
from envs.policies.scripted import HabitualPolicy
from envs.rollout import rollout
from eval.__main__ import main
from eval.record import Hinted, Record
from eval.report import html
from eval.substitution import NO_ERROR, substitution
from tools.command import InputError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = '<script>alert(1)</script>\x1b[35m"&'


def correction(id_: str, code: str, wrong: str, right: str, plain: float, hinted: float) -> dict[str, Any]:
    return {
        "id": id_,
        "message_index": 2,
        "codes": [code],
        "error_tokens": [11],
        "hint": f"Reminder: {EVIL}",
        "findings": [{"code": code, "span": [0, 1], "tokens": [11]}],
        "plain_ids": list(range(13)),
        "hinted_ids": list(range(20)),
        "target": [10, 13],
        "student_logprobs": [0.0, log(plain), 0.0],
        "teacher_logprobs": [0.0, log(hinted), 0.0],
        "admitted": True,
        "pieces": ['{"name": "', wrong, '"}'],
        "alternatives": {
            "token": 11,
            "student": [{"text": wrong, "logprob": log(plain)}],
            "teacher": [{"text": right, "logprob": log(0.9)}, {"text": wrong, "logprob": log(hinted)}],
        },
    }


def write(path: Path, records: list[dict[str, Any]]) -> None:
    with Archive(path) as archive:
        for record in records:
            archive.write(record)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, with what a bad policy did before and a better one after."""
    path = tmp_path_factory.mktemp("runs") / f"a run {EVIL[:8].replace('/', '')}"
    sides = {}
    for when, habit in (("before", 0.5), ("after", 0.05)):
        for split, tasks in (("test", 16), ("held_out", 4)):
            parts = list(rollout(HabitualPolicy(habit), "store-v0", range(tasks), split=split))
            write(path / "evaluation" / f"{when}-{split}.jsonl", [part.to_json() for part in parts])
            sides[when, split] = [(part, criticize(part)) for part in parts]
    trained = list(rollout(HabitualPolicy(0.5), "store-v0", range(4), split="train"))
    write(path / "trajectories.jsonl", [part.to_json() for part in trained])
    corrections = [
        correction(trained[0].id, "nonexistent_tool", EVIL, "get_order", 0.6, 0.1),
        correction(trained[0].id, "nonexistent_tool", EVIL, "get_order", 0.5, 0.1),
        correction(trained[1].id, "wrong_type", "417", '"417"', 0.4, 0.2),
    ]
    write(path / "corrections.jsonl", corrections)
    learnt = {"corrections": 3, "admitted": 3, "steps": 2, "clean_divergence": 0.001, "final_divergence": 0.002}
    rounds = [
        {"round": number, **measure(sides[when, "test"]).to_json(), **learnt, "undone": undone}
        for number, (when, undone) in enumerate((("before", []), ("before", [f"too far {EVIL}"]), ("after", [])))
    ]
    write(path / "metrics.jsonl", rounds)
    manifest = {"schema_version": 1, "config": {"policy": EVIL, "env": "store-v0", "hint": "real"}, "command": EVIL}
    (path / "manifest.json").write_text(json.dumps(manifest))
    summary = {
        **compared(sides["before", "test"], sides["after", "test"]),
        "held_out_tools": compared(sides["before", "held_out"], sides["after", "held_out"]),
        "rollouts": 12,
        "seconds": 3.0,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return path


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """The finished run, to take something away from."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Page(HTMLParser):
    """What a page holds: tags that aren't closed in order, ids, links, and the cells of each table by its caption."""

    VOID = frozenset({"meta", "link", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.caption = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.rows.setdefault(self.caption, []).append([])
        elif tag in ("th", "td"):
            self.rows[self.caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "caption":
            self.caption += data
        elif {"th", "td"} & set(self.open) and self.rows.get(self.caption):
            self.rows[self.caption][-1][-1] += data

    def row(self, caption: str, label: str) -> list[str]:
        return next(cells[1:] for cells in self.rows[caption] if cells[0] == label)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check_figures(page: Page, summary: dict[str, Any]) -> None:
    """The table of before and after says what the summary says."""
    caption = "Errors per 100 calls, before and after training"
    for code in summary["difference"]["codes"]:
        for cell, when in zip(page.row(caption, code), ("before", "after"), strict=False):
            rate = summary[when]["codes"].get(code)
            assert cell.split()[0] == (f"{rate['rate']:.1f}" if rate else "-")
    for label, part in (("invalid calls", summary), ("invalid calls, held-out tools", summary["held_out_tools"])):
        before, after, difference, drop = (cell.split()[0] for cell in page.row(caption, label))
        assert before == f"{part['before']['invalid_per_100']['rate']:.1f}"
        assert after == f"{part['after']['invalid_per_100']['rate']:.1f}"
        assert difference == f"{part['difference']['invalid_per_100']['difference']:+.1f}"
        assert drop == f"{part['drop']['ratio']:.1f}"


def test_its_figures_are_those_of_the_summary(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    page = Page(html(finished))
    check_figures(page, summary)
    rates = [
        json.loads(line)["invalid_per_100"]["rate"] for line in (finished / "metrics.jsonl").read_text().splitlines()
    ]
    assert page.rows["Invalid calls per 100"][1][1:] == [f"{rate:.1f}" for rate in rates]
    hints = page.rows["Probability of the error without and with the hint, median"]
    assert hints[1:] == [["nonexistent_tool", "2", "0.55", "0.10", "100%"], ["wrong_type", "1", "0.40", "0.20", "100%"]]


def test_it_is_one_file_that_asks_for_nothing(finished: Path) -> None:
    text = html(finished)
    page = Page(text)
    assert not page.open
    assert not {"script", "iframe", "object", "img"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|@import|url\(", text)
    assert [link["href"] for link in page.all("link")] == ["data:,"]


def test_who_cannot_see_it_can_read_it(finished: Path) -> None:
    page = Page(html(finished))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(headings))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.all("svg"))
    assert all(heading["scope"] in ("row", "col") for heading in page.all("th"))
    assert page.all("caption")
    assert len(page.all("caption")) == len(page.all("table"))
    targets = {link["href"] for link in page.all("a")}
    assert "#main" in targets
    assert {str(target)[1:] for target in targets} <= set(ids)
    assert page.all("html")[0]["lang"] == "en"


def test_nothing_from_a_run_is_read_as_html(finished: Path) -> None:
    text = html(finished)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[35m" in text
    assert "\x1b" not in text


def test_instructive_corrections_say_different_things(finished: Path) -> None:
    hinted = Hinted.of(Record.read(finished), 10)
    assert [part.scored.codes for part in hinted.instructive] == [("nonexistent_tool",), ("wrong_type",)]
    assert hinted.instructive[0].scored.decisive.plain == pytest.approx(0.6)
    assert hinted.hint_tokens == 21


def test_a_baseline_stands_beside_it(run_folder: Path, finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    for place in (run_folder / "baselines" / "placebo", run_folder.parent / "other"):
        shutil.copytree(finished, place)
        (place / "manifest.json").write_text(json.dumps({**manifest, "config": {"hint": "placebo"}}))
    page = Page(html(run_folder, against=[run_folder.parent / "other"]))
    names = [row[0] for row in page.rows["Invalid calls per 100"][1:]]
    assert names == ["run", "placebo (placebo hints)", "other (placebo hints)"]


def remove(*names: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        for name in names:
            for path in run.glob(name):
                path.unlink()

    return change


def without_texts(run: Path) -> None:
    """Corrections as an older version wrote them."""
    lines = [json.loads(line) for line in (run / "corrections.jsonl").read_text().splitlines()]
    (run / "corrections.jsonl").unlink()
    write(run / "corrections.jsonl", [{**line, "pieces": [], "alternatives": None} for line in lines])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove("summary.json", "evaluation/after*"), ["still being written", "no evaluation after training yet"]),
        (remove("summary.json", "metrics.jsonl"), ["still being written", "no round is finished yet"]),
        (remove("*.jsonl", "summary.json", "evaluation/*"), ["no round is finished", "no corrections yet"]),
        (without_texts, ["recorded no token texts"]),
        (remove("evaluation/*"), ["tasks before and after are needed"]),
    ],
)
def test_what_is_not_there_is_said(change: Callable[[Path], None], said: list[str], run_folder: Path) -> None:
    change(run_folder)
    text = html(run_folder)
    assert not Page(text).open
    for sentence in said:
        assert sentence in text


def test_a_run_without_its_summary_has_the_figures_of_its_evaluation(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    (run_folder / "summary.json").unlink()
    row = Page(html(run_folder)).row("Errors per 100 calls, before and after training", "invalid calls")
    assert row[0].split()[0] == f"{summary['before']['invalid_per_100']['rate']:.1f}"
    assert row[3].split()[0] == f"{summary['drop']['ratio']:.1f}"


def test_bad_input_is_named(run_folder: Path) -> None:
    with pytest.raises(InputError, match="is no run folder"):
        main(["report", str(run_folder / "evaluation")])
    with pytest.raises(InputError, match="can't be written"):
        main(["report", str(run_folder), "--out", str(run_folder / "no" / "such")])
    write(run_folder / "metrics.jsonl", [{"round": 3}])
    with pytest.raises(InputError, match="do the run again"):
        main(["report", str(run_folder)])
    (run_folder / "manifest.json").write_text('{"schema_version": 7}')
    with pytest.raises(InputError, match="schema_version is 7"):
        main(["report", str(run_folder)])
    (run_folder / "manifest.json").write_text("{}")
    (run_folder / "corrections.jsonl").write_text('{"id": "a", "student_logprobs": [1], "teacher_logprobs": [1]}\n')
    with pytest.raises(InputError, match="object 1 is no correction"):
        main(["report", str(run_folder)])


def test_errors_stay_swap_go_and_come() -> None:
    [part] = rollout(HabitualPolicy(0.0), "store-v0", range(1))
    messages = [part.messages[0]] + [{"role": "assistant", "content": "x"}] * 4

    def with_codes(*codes: str) -> tuple[Trajectory, list[Any]]:
        from critics.finding import Finding
        from tools import ErrorCode

        blank = Finding(code=ErrorCode.WRONG_TYPE, message_index=0, call_index=0, span=(0, 0), explanation="", hint="")
        found = [structs.replace(blank, code=ErrorCode(code), message_index=place) for place, code in enumerate(codes)]
        return structs.replace(part, messages=messages), [*found, *found[:1]]

    before = [with_codes("wrong_type", "nonexistent_tool", "wrong_type"), with_codes()]
    after = [with_codes("missing_argument", "wrong_type"), with_codes("repeated_call")]
    assert substitution(before, after) == {
        ("wrong_type", "wrong_type"): 1,
        ("nonexistent_tool", "missing_argument"): 1,
        ("wrong_type", NO_ERROR): 1,
        (NO_ERROR, "repeated_call"): 1,
    }
    with pytest.raises(ValueError):
        substitution(before, after[:1])


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_loads_it_without_errors(finished: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    out = tmp_path / "report.html"
    main(["report", str(finished), "--out", str(out)])
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    flags += "disable-component-update disable-sync enable-logging=stderr dump-dom"
    options = [f"--{flag}" for flag in flags.split()]
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", out.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    check_figures(Page(done.stdout), json.loads((finished / "summary.json").read_text()))
