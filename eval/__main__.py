"""The command line of `eval`: leaderboards of error rates, a run's before and after, and a look at every turn.

python -m eval runs/tiny.jsonl runs/expert.jsonl     # a leaderboard for each world and split
python -m eval runs/demo                             # a run folder: errors before and after
python -m eval --env store-v1 --policy tiny --policy expert -k 4
python -m eval compare runs/demo                     # task by task: what became of each error
python -m eval replay runs/demo --errors             # turn by turn, errors marked
python -m eval report runs/demo                      # a page about the run, to send to others
python -m eval study                                 # baselines, controls, seeds: is the drop real?
python -m eval bench                                 # how fast these are
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from tools.command import InputError, run

if TYPE_CHECKING:
    from eval.running import Trial


@dataclass(frozen=True, slots=True)
class Config:
    """Error rates per 100 calls with 95% intervals: a leaderboard of policies, which are tried in worlds as far as they
    were not yet, or of the policies in files of trajectories; or what a run folder says of before and after.
    Further commands, each with a --help of its own: python -m eval compare | replay | report | study |
    bench"""

    files: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE|RUN...", help_behavior_hint="")
    ] = ()
    """Trajectories in JSONL (our own, or any with id, tools and messages in OpenAI's form), or run folders."""
    env: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A world to try policies in. May be given several times."""
    policy: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A policy to try, by any name that python -m envs rollout takes. May be given several times."""
    split: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A set of the worlds' tasks; 'test' where none is given. May be given several times."""
    tasks: int = 100
    """How many tasks of each split."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 1
    """How often each task is tried."""
    first_seed: int = 0
    """The first task."""
    temperature: float = 1.0
    """A model's sampling temperature."""
    max_tokens: int | None = None
    """The most tokens of a model's turn; by itself what the model or its server says, else 1,024."""
    batch: int = 64
    """How many tasks a model in this process works on at once."""
    concurrency: int = 128
    """How many requests a server is asked at once."""
    tries: int = 8
    """How often a server is asked for a turn before that counts as an infrastructure fault."""
    price_in: float = 0.0
    """What a million tokens of prompt cost at a server, for the cost per task."""
    price_out: float = 0.0
    """What a million tokens of answer cost at a server."""
    out: Path = Path("runs/eval")
    """Where the trajectories go, and are gone on with."""
    suite: Path | None = None
    """A TOML file with these options: what a team runs every night."""
    by: tyro.conf.UseAppendAction[tuple[Literal["turn", "tools"], ...]] = ()
    """A further table: invalid calls by the number of the turn, or by how many tools were offered."""
    max_error_rate: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="CODE=SHARE")] = ()
    """Exit with 1 if a policy errs so in more than this share of its calls, as in nonexistent_tool=0.01; the code
    'invalid' is all invalid calls. May be given several times."""
    json: bool = False
    """Print the figures as JSON in place of tables."""
    csv: bool = False
    """Print a line of CSV for each policy."""
    markdown: bool = False
    """Print Markdown tables."""
    html: bool = False
    """Print an HTML page."""

    def __call__(self) -> int:
        from eval.show import show  # reads and draws; the help has to come at once
        from eval.suite import bars_of, passed_bars

        bars = bars_of(self.max_error_rate)
        forms = [name for name in ("json", "csv", "markdown", "html") if getattr(self, name)]
        if len(forms) > 1:
            raise InputError(f"one form at a time: choose one of {', '.join(f'--{name}' for name in forms)}")
        trial = self._trial()
        if not self.files and trial is None:
            raise InputError("nothing to show: give files of trajectories, a run folder, or --env and --policy")
        form: Any = forms[0] if forms else "terminal"
        boards = show(self.files, form=form, by=self.by, trial=trial)
        passed = list(passed_bars(boards, bars))
        for line in passed:
            print(f"too many errors: {line}", file=sys.stderr)
        return int(bool(passed))

    def _trial(self) -> "Trial | None":
        """The policies that are to be tried in worlds; None where none is named."""
        if not self.env and not self.policy:
            return None
        if not self.env or not self.policy:
            raise InputError("--env and --policy go together: which policy is to be tried in which world?")
        from envs.policies.server import ServerOptions
        from eval.running import Trial

        return Trial(
            envs=self.env,
            policies=self.policy,
            splits=self.split or ("test",),
            tasks=self.tasks,
            k=self.k,
            first_seed=self.first_seed,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            batch=self.batch,
            server=ServerOptions(
                concurrency=self.concurrency,
                tries=self.tries,
                price_in=self.price_in,
                price_out=self.price_out,
            ),
            out=self.out,
        )


@dataclass(frozen=True, slots=True)
class Compare:
    """Two policies on the same tasks: by how much each error fell, which tasks got better and worse, which error became
    which, and what else moved. Of one run folder: before and after."""

    sources: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE|RUN...")]
    """Two files of trajectories or run folders, before and after; or one run folder."""
    json: bool = False
    """Print the figures as JSON in place of tables."""

    def __call__(self) -> None:
        from json import dumps

        from rich.console import Console

        from eval.compare import compare, files_of
        from eval.contrast import Contrast, source

        comparison = compare(*files_of(self.sources))
        if self.json:
            print(dumps(comparison.to_json(), indent=2))
            return
        console = Console(highlight=False, emoji=False)
        console.print(Contrast(comparison))
        console.print(source(comparison), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Replay:
    """Look at trajectories turn by turn: the error marked in what the model wrote, and the hint above it. In a
    terminal it waits for you after each turn; in a pipe it prints everything."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE|RUN")]
    """Trajectories in JSONL, or a run folder."""
    errors: bool = False
    """Only trajectories in which something is wrong."""
    code: Annotated[str | None, tyro.conf.arg(metavar="CODE")] = None
    """Only trajectories with this error code."""
    task: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Only the trajectory with this id."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Only trajectories of the task with this seed."""
    full: bool = False
    """Show long texts in whole; else the middle of what is longer than 1,000 characters is left out."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Print or export only so many trajectories."""
    pairs: bool = False
    """Of a run folder: the evaluation's tasks, before and after training side by side."""
    after: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A file with the same tasks, to show beside these."""
    export: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write what would be shown to a .svg, .html, .txt or .cast (asciinema) file."""

    def __call__(self) -> int:
        from eval.export import export
        from eval.film import Film, Wanted, evaluations
        from eval.player import LONGEST
        from eval.replay import everything, replay

        wanted = Wanted(errors=self.errors, code=self.code, id=self.task, seed=self.seed)
        film, longest, paired = (
            Film(self.source, wanted),
            None if self.full else LONGEST,
            self.pairs or bool(self.after),
        )

        def pairs() -> tuple[Film, Film]:
            return (film, Film(self.after)) if self.after else evaluations(self.source, wanted)

        if self.export is None:
            return replay(film, pairs=pairs, paired=paired, longest=longest, most=self.most)
        parts = everything(*(pairs() if paired else (film,)), longest=longest, most=self.most)
        export(parts, self.export, title=f"python -m eval replay {self.source}")
        return 0


@dataclass(frozen=True, slots=True)
class Report:
    """One HTML file about a run, to send to others: error rates by round, before and after, what the hints did, the
    most instructive corrections; or about a study: methods, controls, goals. It needs no network."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|STUDY")]
    """A run folder, or a study's folder or study.json; of one that is still being written, what there is so far."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write it; else report.html there. Of a study, a name that ends in .svg gets its picture,
    one in .md its tables."""
    against: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN|STUDY...")] = ()
    """Run folders of baselines, whose error rates are drawn beside this run's; studies, in a study's picture."""

    def __call__(self) -> None:
        from eval.report import write, write_page

        study, *others = (path / "study.json" if path.is_dir() else path for path in (self.run, *self.against))
        if study.name.endswith(".json") and study.is_file():
            from eval.study.page import page

            out = self.out or study.with_name("report.html")
            print(write_page(page(study, out.suffix, against=others), out))
            return
        print(write(self.run, self.out or self.run / "report.html", against=self.against))


@dataclass(frozen=True, slots=True)
class Study:
    """Is the drop real? Targeted hints beside the final reward, rejection sampling and other ways to learn, and beside
    hints that say nothing: the same start model, tasks and rollouts, every learning rate tuned. What is finished is
    not done again, so the same command goes on with a study that was cut off."""

    out: Path = Path("runs/study")
    """Folder of the study: a run folder for each arm and seed, and study.json."""
    preset: Literal["small", "full", "larger"] = "small"
    """'small' is one seed of the main methods and controls, about an hour on two cores; 'full' is three of all arms,
    with variants of the default, and takes half a day; 'larger' is three arms in the hard setting, untuned, for
    a larger --policy on a GPU."""
    setting: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only this setting: 'easy' or 'hard'. May be given several times."""
    arm: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only this arm, also one that the preset has not. May be given several times."""
    seeds: int = 0
    """How many seeds of each arm; 0 is the preset's number."""
    policy: str = ""
    """Another start model, a folder or a hub name, in place of the setting's own; then give one --setting."""
    take_up: Path | None = None
    """The study.json of another machine, of the same preset: what is finished in it is not done again."""
    jobs: int = 2
    """How many arms go on side by side."""
    show: bool = False
    """Do nothing; print what there is so far."""

    def __call__(self) -> int:
        from eval.study.show import study

        return study(
            self.out,
            self.preset,
            self.setting,
            self.arm,
            seeds=self.seeds,
            policy=self.policy,
            taken=self.take_up,
            jobs=self.jobs,
            only_show=self.show,
        )


Command = TypeVar("Command", bound=Callable[[], int | None])


def main(arguments: Sequence[str] | None = None) -> int | None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given[:1]:
        case ["compare"]:
            return _read(Compare, "python -m eval compare", given[1:])()
        case ["replay"]:
            return _read(Replay, "python -m eval replay", given[1:])()
        case ["report"]:
            return _read(Report, "python -m eval report", given[1:])()
        case ["study"]:
            return _read(Study, "python -m eval study", given[1:])()
        case ["bench"]:
            from eval.bench import Bench

            return _read(Bench, "python -m eval bench", given[1:])()
        case _:
            return _read(Config, "python -m eval", given, default=_suite(given))()


def _suite(given: Sequence[str]) -> Config | None:
    """What the suite's file says, as the options' defaults; None without one."""
    places = [place for place, text in enumerate(given) if text == "--suite" or text.startswith("--suite=")]
    if not places:
        return None
    _, equals, path = given[places[-1]].partition("=")
    path = path if equals else "".join(given[places[-1] + 1 : places[-1] + 2])
    from eval.suite import read_suite

    known = [part.name for part in fields(Config) if part.name not in ("files", "suite")]
    return read_suite(Path(path), Config, known)


def _read(command: type[Command], prog: str, arguments: Sequence[str], default: Command | None = None) -> Command:
    options: dict[str, Any] = {} if default is None else {"default": default}
    read: Command = tyro.cli(command, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,), **options)
    return read


if __name__ == "__main__":
    run(main)
