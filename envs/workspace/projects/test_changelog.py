import unittest

from envs.workspace.projects.changelog import changes_since, latest_first, next_version, render

CHANGES = {"0.9.0": ["first"], "0.10.0": ["faster", "smaller"], "0.9.1": ["a fix"]}


class ChangelogTest(unittest.TestCase):
    def test_the_latest_comes_first(self) -> None:
        self.assertEqual(latest_first(CHANGES), ["0.10.0", "0.9.1", "0.9.0"])

    def test_the_next_version(self) -> None:
        self.assertEqual(next_version(CHANGES, False), "0.11.0")
        self.assertEqual(next_version(CHANGES, True), "1.0.0")

    def test_the_first_version(self) -> None:
        self.assertEqual(next_version({}, True), "0.1.0")

    def test_since(self) -> None:
        self.assertEqual(changes_since(CHANGES, "0.9.0"), ["faster", "smaller", "a fix"])
        self.assertEqual(changes_since(CHANGES, "0.10.0"), [])
        self.assertEqual(changes_since(CHANGES, "0.1"), ["faster", "smaller", "a fix", "first"])

    def test_render(self) -> None:
        text = "## 0.10.0\n- faster\n- smaller\n\n## 0.9.1\n- a fix\n\n## 0.9.0\n- first"
        self.assertEqual(render(CHANGES), text)
