"""A study: arms differ in what they name, what is finished is not done again, and the figures are those of the runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from envs import read_records
from eval.__main__ import main
from eval.study.arms import DEFAULT, LONG, METHODS
from eval.study.carry import carry_out, tuned_rate
from eval.study.figures import fallen, read_study
from eval.study.means import mean_of
from eval.study.plan import PRESETS, Preset, Trial, places
from eval.study.show import write
from eval.study.taken import take_up
from tools.command import InputError

TOLD = next(arm for arm in METHODS if arm.name == "told")
TINY = replace(
    PRESETS["small"],
    arms=(DEFAULT, TOLD),
    settings=PRESETS["small"].settings[:1],
    rollouts=8,
    a_round=4,
    tuning_rollouts=8,
    rates=(1e-4, 2e-4),
    tasks=2,
    held_out_tasks=1,
    guard_tasks=2,
)


def point(rollouts: int, rate: float) -> dict[str, Any]:
    return {"rollouts": rollouts, "seconds": 1.0, "cpu_seconds": 1.0, "steps": 2, "invalid_per_100": {"rate": rate}}


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([40, 30, 19, 5], 64), ([40, 10, 35, 35], None), ([40, 21, 21, 21], None), ([40, 20], 32), ([], None)],
)
def test_a_rate_has_fallen_where_it_also_stays(rates: list[float], expected: int | None) -> None:
    found = fallen([point(32 * place, rate) for place, rate in enumerate(rates)], 20)
    assert (found["rollouts"] if found else None) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_arms_differ_in_what_they_name_only(name: str) -> None:
    preset = PRESETS[name]
    every = places(preset, Path("out"))
    assert len({place.folder for place in every}) == len(every)
    for setting in preset.settings:
        assert [place.arm for place in every if place.setting == setting] == list(preset.within(setting).arms)
    by_name = {str(place): next(place.measured(2e-4)).config() for place in every if place.arm.trained}
    for place in every:
        if not place.arm.trained:
            continue
        ours, default = by_name[str(place)], by_name[f"{place.setting.name}/{DEFAULT.name}"]
        ours.check()
        assert ours.rounds * ours.rollouts == default.rounds * default.rollouts * place.arm.rounds
        assert ours.rollouts == default.rollouts
        same = replace(ours, out=default.out, rounds=default.rounds, band=default.band)
        same = replace(same, **{name: getattr(default, name) for name in place.arm.run})
        same = replace(
            same, update=replace(same.update, **{name: getattr(default.update, name) for name in place.arm.update})
        )
        assert same == default


@pytest.mark.parametrize(
    ("preset", "arm", "tuned"),
    [
        ("small", "grpo", "grpo"),
        ("small", "placebo", "targeted"),
        ("small", "told", None),
        ("full", "placebo", "placebo"),
        ("full", "targeted-long", "targeted"),
        ("full", "no-guard-long", "no-guard"),
        ("full", "grpo-long", "grpo"),
    ],
)
def test_an_arm_has_its_own_learning_rate_or_that_of_another(preset: str, arm: str, tuned: str | None) -> None:
    (place,) = places(PRESETS[preset].only(settings=["easy"], arms=[arm]), Path("out"))
    assert (place.tuned.folder if place.tuned else None) == (Path("out/easy") / tuned if tuned else None)


def test_learning_rates_are_tuned_on_tasks_that_no_arm_is_measured_on() -> None:
    place = places(PRESETS["full"], Path("out"))[0]
    tuned = [trial.config() for trial in place.tuning()]
    measured = [trial.config() for trial in place.measured(2e-4)]
    assert [config.update.learning_rate for config in tuned] == [1e-4, 3e-4, 3e-5, 1e-5]
    assert len(measured) == 3
    seen = {seed for config in tuned for number in range(config.rounds) for seed in config.training_seeds(number)}
    for config in measured:
        assert not seen & {seed for number in range(config.rounds) for seed in config.training_seeds(number)}
        assert not seen & set(config.guard_seeds)


@pytest.mark.parametrize(
    ("acting", "tried", "chosen"),
    [
        ({1e-4, 3e-4}, [1e-4, 3e-4], 1e-4),
        ({3e-4}, [1e-4, 3e-4], 3e-4),
        ({3e-5, 1e-5}, [1e-4, 3e-4, 3e-5], 3e-5),
        (set(), [1e-4, 3e-4, 3e-5, 1e-5], 1e-5),
    ],
)
def test_lower_rates_are_tried_where_an_arm_stops_acting_at_the_others(
    acting: set[float], tried: list[float], chosen: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def score(trial: Trial) -> dict[str, Any]:
        return {"invalid_per_100": trial.rate, "acts": trial.rate in acting, "undone": 0}

    monkeypatch.setattr("eval.study.carry._score", score)
    place = places(PRESETS["small"], tmp_path)[0]
    place.folder.mkdir(parents=True)
    assert tuned_rate(place) == chosen
    assert [float(rate) for rate in json.loads(place.tuning_file.read_text())["tried"]] == tried


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out, lines = tmp_path_factory.mktemp("study"), list[str]()
    assert carry_out(places(TINY, out), jobs=2, watch=lines.append) == {}
    return out, lines


def test_a_study_tunes_runs_and_reads(finished: tuple[Path, list[str]]) -> None:
    out, lines = finished
    assert {line.partition(":")[0] for line in lines} == {"easy/targeted", "easy/told"}
    arms = read_study(out, TINY)["settings"]["easy"]["arms"]
    tried = arms["targeted"]["tried"]
    assert set(tried) == {"0.0001", "0.0002"}
    acting = [rate for rate in tried if tried[rate]["acts"]]
    assert arms["targeted"]["rate"] == float(min(acting, key=lambda rate: tried[rate]["invalid_per_100"]))
    [seed] = arms["targeted"]["seeds"]
    summary = json.loads((out / "easy/targeted/seed-0/summary.json").read_text())
    assert [part["rollouts"] for part in seed["curve"]] == [0, 4, 8]
    assert seed["after"]["invalid_per_100"] == summary["after"]["invalid_per_100"]
    assert seed["curve"][-1]["invalid_per_100"]["rate"] == pytest.approx(summary["after"]["invalid_per_100"]["rate"])
    assert seed["curve"][-1]["seconds"] > seed["curve"][1]["seconds"] > 0
    [told] = arms["told"]["seeds"]
    assert told["before"] == seed["before"]
    assert told["curve"] == []


def test_what_is_finished_is_not_done_again(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")}
    assert carry_out(places(TINY, out), jobs=1, watch=lambda line: None) == {}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")} == before


def test_what_another_machine_has_finished_is_taken_up_and_not_done_again(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, _ = finished
    write(out, read_study(out, TINY))
    known = json.loads((out / "study.json").read_text())
    take_up(out / "study.json", TINY, tmp_path)
    lines: list[str] = []
    assert carry_out(places(TINY, tmp_path), jobs=1, watch=lines.append) == {}
    assert {line.partition(":")[0] for line in lines} == {"easy/targeted", "easy/told"}
    assert not list(tmp_path.rglob("metrics.jsonl"))
    found = read_study(tmp_path, TINY)
    assert found["settings"]["easy"]["arms"]["targeted"]["seeds"][0].pop("made_with") == known["made_with"]
    assert found["settings"]["easy"]["arms"]["told"]["seeds"][0].pop("made_with") == known["made_with"]
    assert found["settings"] == known["settings"]
    (tmp_path / "again/easy/targeted/seed-0").mkdir(parents=True)
    take_up(out / "study.json", TINY, tmp_path / "again")
    assert not list((tmp_path / "again/easy/targeted/seed-0").iterdir())  # what is begun here goes on here


def test_only_the_same_study_is_taken_up(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, _ = finished
    write(out, read_study(out, TINY))
    with pytest.raises(InputError, match="of the preset 'small', this of 'full': name it by --preset"):
        take_up(out / "study.json", PRESETS["full"], tmp_path)
    with pytest.raises(InputError, match="has store-v0 with tiny as 'easy', here it is store-v0 with mine"):
        take_up(out / "study.json", TINY.started_by("mine", settings=["easy"]), tmp_path)
    (tmp_path / "study.json").write_text('{"schema_version": 9}')
    with pytest.raises(InputError, match="is no study that this hintsight reads"):
        main(["study", "--out", str(tmp_path), "--take-up", str(tmp_path / "study.json")])
    assert not (tmp_path / "easy").exists()


def test_what_the_start_model_does_is_done_once(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Another arm has the file, and what it comes to is what it comes to by itself."""
    placebo = next(arm for arm in PRESETS["small"].arms if arm.name == "placebo")
    shutil.copytree(finished[0], tmp_path / "shared")
    (tmp_path / "alone/easy/targeted").mkdir(parents=True)
    shutil.copy(finished[0] / "easy/targeted/tuning.json", tmp_path / "alone/easy/targeted")
    summaries = []
    for out in (tmp_path / "shared", tmp_path / "alone"):
        assert carry_out(places(replace(TINY, arms=(placebo,)), out), jobs=1, watch=lambda line: None) == {}
        summaries.append(json.loads((out / "easy/placebo/seed-0/summary.json").read_text()))
    shared, alone = ({**summary, "seconds": 0} for summary in summaries)
    assert shared == alone
    written = [
        tmp_path / "shared" / f"easy/{arm}/seed-0/evaluation/before-test.jsonl" for arm in ("targeted", "placebo")
    ]
    assert len({path.read_bytes() for path in written}) == 1
    metrics = read_records(tmp_path / "shared/easy/placebo/seed-0/metrics.jsonl")
    assert [record["round"] for record in metrics] == [0, 1]


def test_an_arm_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    wrong = replace(TINY.settings[0], policy=str(tmp_path / "nothing"))
    failed = carry_out(places(replace(TINY, settings=[wrong]), tmp_path), jobs=1, watch=lambda line: None)
    assert set(failed) == {"easy/targeted", "easy/told"}
    assert "nothing" in failed["easy/targeted"]


def test_the_command_refuses_what_a_preset_has_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no 'targetted' in a study: did you mean 'targeted'"):
        main(["study", "--out", str(tmp_path), "--arm", "targetted"])
    with pytest.raises(InputError, match="has no finished arm"):
        main(["study", "--out", str(tmp_path), "--show"])


def test_means_over_seeds_have_the_interval_of_so_few() -> None:
    assert mean_of([1.0], float).said() == "1.0"
    three = mean_of([1.0, 2.0, 3.0], float)
    assert (three.mean, round(three.margin or 0, 3)) == (2.0, 2.484)
    assert mean_of([0.25, 0.5, 0.75], float).said(".0%") == "50% ±62%"


def test_only_some_of_a_preset_and_arms_beyond_it() -> None:
    small = PRESETS["small"]
    assert [str(place) for place in places(small.only(settings=["hard"], arms=["told"]), Path("out"))] == ["hard/told"]
    assert "no-hint" not in [arm.name for arm in small.arms]
    beyond: Preset = small.only(settings=["easy"], arms=["no-hint", "targeted"])
    assert [str(place) for place in places(beyond, Path("out"))] == ["easy/targeted", "easy/no-hint"]


def test_a_setting_may_have_other_arms_and_sizes_but_an_arm_that_is_named_is_in_all() -> None:
    full = PRESETS["full"]
    known = {str(place): place for place in places(full, Path("out"))}
    assert "easy/grpo-long" in known
    assert "hard/grpo-long" not in known
    grpo = {name: next(known[f"{name}/grpo"].measured(1e-4)).config() for name in ("easy", "hard")}
    assert (grpo["easy"].rounds, grpo["easy"].tasks) == (16, 128)
    assert (grpo["hard"].rounds, grpo["hard"].tasks) == (8, 64)
    assert known["hard/placebo"].tuned == known["hard/targeted"]  # none but methods are tuned there
    named = places(full.only(settings=[], arms=["grpo-long"]), Path("out"))
    assert [str(place) for place in named] == ["easy/grpo-long", "hard/grpo-long"]
    assert next(named[1].measured(1e-4)).config().rounds == 8 * 40


def test_another_start_model_is_for_one_setting_and_the_only_rate_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name one with --setting, of 2"):
        PRESETS["small"].started_by("mine", settings=[])
    (setting,) = PRESETS["small"].started_by("mine", settings=["easy"]).settings
    assert (setting.policy, setting.env) == ("mine", "store-v0")
    larger = PRESETS["larger"].started_by("mine", settings=[])
    targeted, *_ = places(larger, tmp_path)
    targeted.folder.mkdir(parents=True)
    assert tuned_rate(targeted) == 1e-4
    assert [file.name for file in targeted.folder.iterdir()] == ["tuning.json"]
    assert next(targeted.measured(1e-4)).config().policy == "mine"


def test_all_seeds_of_a_folder_are_shown_and_more_can_be_asked_for(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0] / "easy" / "targeted", tmp_path / "easy" / "targeted")
    shutil.copytree(tmp_path / "easy" / "targeted" / "seed-0", tmp_path / "easy" / "targeted" / "seed-2")
    seeds = read_study(tmp_path, TINY)["settings"]["easy"]["arms"]["targeted"]["seeds"]
    assert [seed["seed"] for seed in seeds] == [0, 2]
    with pytest.raises(InputError, match="no fewer than 0 seeds"):
        main(["study", "--out", str(tmp_path), "--seeds", "-1"])


def test_a_study_is_a_page_and_a_picture(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, _ = finished
    write(out, read_study(out, TINY))
    names = "study.html", "study.svg", "study.md"
    for name in names:
        main(["report", str(out), "--out", str(tmp_path / name)])
    page, picture, table = ((tmp_path / name).read_text() for name in names)
    arms = json.loads((out / "study.json").read_text())["settings"]["easy"]["arms"]
    after = arms["targeted"]["seeds"][0]["after"]["invalid_per_100"]["rate"]
    assert f"<td>{after:.1f}</td>" in page
    assert f"| targeted | {after:.1f} |" in table
    assert "at least 5 times fewer invalid calls" in page
    assert "<script" not in page
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "rollouts 8" in picture


def test_a_picture_has_the_panels_of_other_studies_on_one_scale(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    study = read_study(finished[0], TINY)
    write(tmp_path / "one", study)
    curve = study["settings"]["easy"]["arms"]["targeted"]["seeds"][0]["curve"]
    curve[0]["invalid_per_100"]["rate"] = 400.0
    write(tmp_path / "other", {**study, "preset": "larger"})
    main(["report", str(tmp_path / "one"), "--against", str(tmp_path / "other"), "--out", str(tmp_path / "both.svg")])
    panels = ElementTree.parse(tmp_path / "both.svg").getroot().findall("{*}svg")
    titles = [panel.findtext("{*}title") for panel in panels]
    assert titles == ["easy, invalid calls per 100 by rollouts", "easy, larger, invalid calls per 100 by rollouts"]
    assert [[text.text for text in panel.findall("{*}text")].count("400") for panel in panels] == [1, 1]
    with pytest.raises(InputError, match="in its picture alone: give an --out"):
        main(["report", str(tmp_path / "one"), "--against", str(tmp_path / "other")])
    with pytest.raises(InputError, match="there is no study at"):
        main(["report", str(tmp_path / "one"), "--against", str(tmp_path), "--out", str(tmp_path / "both.svg")])


def test_what_becomes_of_long_runs_is_drawn(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    study = read_study(finished[0], TINY)
    arms = study["settings"]["easy"]["arms"]
    write(tmp_path, study)
    main(["report", str(tmp_path)])
    assert "in runs that go on long" not in (tmp_path / "report.html").read_text()
    last = arms["targeted"]["seeds"][0]["curve"][-1]
    late = [{**last, "invalid_per_100": {"rate": 90.0}}] * 20
    longer = {**arms["targeted"]["seeds"][0], "curve": [*arms["targeted"]["seeds"][0]["curve"], *late]}
    for arm in LONG:
        arms[arm.name] = {**arms["targeted"], "kind": "variant", "seeds": [longer]}
    write(tmp_path, study)
    main(["report", str(tmp_path)])
    ends = "; ".join(f"{arm.name} ends at 90" for arm in LONG)
    assert ends in (tmp_path / "report.html").read_text()


def test_what_is_no_study_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"schema_version": 9}')
    with pytest.raises(InputError, match="is no study that this hintsight reads"):
        main(["report", str(tmp_path)])
    (tmp_path / "study.json").write_text('{"schema_version": 1, "settings": {"easy": {"arms": {}}}}')
    with pytest.raises(InputError, match="has no finished arm 'targeted'"):
        main(["report", str(tmp_path / "study.json")])
