"""The world that the README shows, as it is shown; and a user who is played by a model."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.policies import Context, ExpertPolicy, HabitualPolicy, RandomPolicy, Reply, load_policy
from envs.rollout import rollout
from envs.user import facts
from tools.command import InputError

ROOT = Path(__file__).parents[1]
LAMPS = "lamps:house/lamps-v0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blocks = (ROOT / "envs" / "README.md").read_text(encoding="utf-8").split("```python\n")
    [code] = [text for block in blocks if "house/lamps-v0" in (text := block.partition("```")[0])]
    assert len(code.splitlines()) < 150
    folder = tmp_path_factory.mktemp("lamps")
    (folder / "lamps.py").write_text(code, encoding="utf-8")
    return folder


@pytest.fixture
def lamps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(folder))
    return LAMPS


def test_the_readmes_world_holds_to_the_contract(lamps: str) -> None:
    for split in ("train", "test"):
        env = envs.make(lamps, split=split)
        check_env(gymnasium.make(gymnasium.registry["house/lamps-v0"], split=split).unwrapped)
        env.close()
        assert all(trajectory.success for trajectory in rollout(ExpertPolicy(), lamps, range(20), split=split))
        assert not any(trajectory.success for trajectory in rollout(RandomPolicy(), lamps, range(20), split=split))
    assert any(trajectory.messages[3].get("is_error") for trajectory in rollout(HabitualPolicy(0.5), lamps, range(20)))


def test_the_readmes_world_is_played_from_the_command_line(folder: Path) -> None:
    command = [sys.executable, "-m", "envs", "play", LAMPS]
    moves = ":expert\n" * 9
    done = subprocess.run(
        command, input=moves, capture_output=True, text=True, timeout=60, cwd=folder, env={"PYTHONPATH": f"{ROOT}:."}
    )
    assert "solved: reward 1" in done.stdout, done.stderr


def test_a_module_that_is_none() -> None:
    with pytest.raises(InputError, match="can't import 'lmaps'"):
        envs.make("lmaps:house/lamps-v0")


class Rephrasing:
    """Says what it is told in words of its own, or loses the facts."""

    name = "rephrasing"

    def __init__(self, *, faithful: bool) -> None:
        self.faithful = faithful

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        told = [str(context.messages[-1]["content"]).partition("Say now: ")[2] for context in contexts]
        said = [f"Well, {text[0].lower()}{text[1:]}" if self.faithful else "I forgot." for text in told]
        return [Reply(message={"role": "assistant", "content": text}) for text in said]


def test_a_model_plays_the_user_in_its_own_words() -> None:
    plain = list(rollout(ExpertPolicy(), "store-v1", range(10)))
    played = list(rollout(ExpertPolicy(), "store-v1", range(10), user=Rephrasing(faithful=True)))
    assert all(trajectory.success for trajectory in played)
    for ours, theirs in zip(plain, played, strict=True):
        said = [m["content"] for m in theirs.messages if m["role"] == "user"]
        assert all(text.startswith("Well, ") for text in said)
        assert len(said) == sum(m["role"] == "user" for m in ours.messages)


def test_a_user_who_loses_the_facts_says_the_script() -> None:
    plain, played = (
        [trajectory.messages for trajectory in rollout(ExpertPolicy(), "store-v1", range(10), user=user)]
        for user in (None, Rephrasing(faithful=False))
    )
    lost = sum(ours != theirs for ours, theirs in zip(plain, played, strict=True))
    assert lost <= 5  # an exchange without a fact in it may be said in any words


def test_the_embedded_model_can_sit_in_for_the_user() -> None:
    [trajectory] = rollout(ExpertPolicy(), "store-v1", [0], user=load_policy("tiny"))
    assert trajectory.success


def test_facts_are_the_words_with_a_digit() -> None:
    assert facts("Order O123 goes to 4 Mill Lane, 12345 Kiel.") == {"O123", "4", "12345"}
    assert facts("ana89@mail.example, hello.") == {"ana89@mail.example"}


def test_a_world_without_a_scripted_user_says_so() -> None:
    with pytest.raises(InputError, match="user"):
        envs.make("store-v0", user=load_policy("expert"))
