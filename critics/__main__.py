"""The command line of `critics`: the errors in anyone's logs of agents.

python -m critics runs/tiny.jsonl
python -m critics results.json --tools tools.json        # tau2-bench, BFCL, verifiers, Anthropic, OpenAI
python -m critics runs/*.jsonl --jsonl findings.jsonl    # every finding, one object a trajectory
python -m critics runs/tiny.jsonl --fail-on nonexistent_tool
python -m critics bench runs/tiny.jsonl                  # how fast all rules are, beside plain jsonschema
python -m critics score labelled.jsonl                   # how good they are, by what environments said
"""

import gc
import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional, UseAppendAction

from critics import bench, score
from critics.finding import Criticized, write_findings
from critics.formats import NOT_OF_THE_FORM, Form, Unreadable, form_named, read_logs, readable, reason_of
from critics.judge.options import JudgeOptions
from critics.overview import Gathering, Overview
from critics.report import Report
from critics.rules import criticize
from tools import ErrorCode
from tools.command import InputError, did_you_mean, run
from tools.source import tools_from

FAILED, UNREAD = 1, 2
"""Exit statuses: an error that --fail-on names, and something that could not be read."""


@dataclass(frozen=True, slots=True)
class Config:
    """Find the errors in logs of agents, and count them per 100 calls with 95% intervals. What can't be read is listed,
    and the rest goes on. Exit status: 0; 1 with an error that --fail-on names; 2 if something could not be read."""

    files: Annotated[
        Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE...", help_behavior_hint="(- is standard input)")
    ]
    """Logs: our trajectories, OpenAI's or Anthropic's messages in JSONL, results of tau-bench, tau2-bench and BFCL,
    verifiers' traces.jsonl. The form is told from the content."""
    format: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The form of the files, where it is told wrong: hintsight, openai, anthropic, tau-bench, tau2, bfcl, verifiers."""
    tools: Annotated[UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="FILE")] = ()
    """The tools that were offered, where a log doesn't say: a JSON file of schemas (OpenAI's, Anthropic's, MCP's or
    BFCL's), or a module. May be given several times."""
    jsonl: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the findings to this file too, one object a trajectory."""
    json: bool = False
    """Print the figures as JSON in place of a report."""
    fail_on: Annotated[UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="CODE")] = ()
    """Exit with 1 if this error is found. May be given several times."""
    examples: int = 1
    """So many examples of each error."""
    judging: Annotated[JudgeOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=JudgeOptions)
    """The judge."""

    def __call__(self) -> int:
        codes = self._checked()
        form = form_named(self.format) if self.format else None
        tools = [tool.to_openai() for source in self.tools for tool in tools_from(source)]
        gathering = Gathering(wanted=max(0, self.examples))
        critic = self.judging.critic(self.jsonl or self.files[0])
        criticized = gathering.watched(critic.read(self._ruled(gathering, form, tools)))
        if self.jsonl is not None:
            write_findings(self.jsonl, criticized)
        else:
            deque(criticized, maxlen=0)
        overview = gathering.overview()
        if self.json:
            print(json.dumps(overview.to_json() | critic.to_json(), indent=2))
        else:
            console = Console(highlight=False, markup=False, emoji=False)
            console.print(Report(overview))
            for line in critic.lines():
                console.print(line)
        return self._status(overview, codes)

    def _checked(self) -> list[ErrorCode]:
        """The codes to fail on. Raises InputError for what can't work, before any file is read."""
        if not self.files:
            raise InputError("no file given: give logs of agents")
        readable(self.files)
        if self.jsonl is not None and self.jsonl.resolve() in [file.resolve() for file in self.files]:
            raise InputError(f"{self.jsonl} has the trajectories: write the findings to another file")
        known = [str(code) for code in ErrorCode]
        for code in self.fail_on:
            if code not in known:
                raise InputError(f"{code!r} is no error code: {did_you_mean(code, known)}")
        return [ErrorCode(code) for code in self.fail_on]

    def _ruled(
        self, gathering: Gathering, form: Form | None, tools: Sequence[Mapping[str, Any]]
    ) -> Iterator[Criticized]:
        """The trajectories of all files with what the rules find; what can't be read is refused."""
        for file in self.files:
            for part in read_logs(file, form, tools):
                if isinstance(part, Unreadable):
                    gathering.refuse(part)
                    continue
                place, trajectory = part
                try:
                    findings = criticize(trajectory)
                except NOT_OF_THE_FORM as error:
                    gathering.refuse(Unreadable(place=place, reason=f"{trajectory.id[:80]}: {reason_of(error)}"))
                    continue
                gathering.expect(place)
                yield trajectory, findings

    @staticmethod
    def _status(overview: Overview, codes: Sequence[ErrorCode]) -> int:
        if any(overview.found(code) for code in codes):
            return FAILED
        return UNREAD if overview.unread else 0


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    gc.freeze()  # what was imported stays: to look through it again and again would take longer than a small file
    if given[:1] == ["bench"]:
        bench.main(given[1:])
        return 0
    if given[:1] == ["score"]:
        score.main(given[1:])
        return 0
    command = tyro.cli(
        Config,
        prog="python -m critics",
        description="Where agents went wrong in their logs, and how often.",
        args=given,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command()


if __name__ == "__main__":
    run(main)
