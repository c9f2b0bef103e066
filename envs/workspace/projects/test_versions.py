import unittest

from envs.workspace.projects.versions import bump, is_compatible, newest, parse_version


class VersionsTest(unittest.TestCase):
    def test_parse(self) -> None:
        self.assertEqual(parse_version("1.10.2"), (1, 10, 2))
        self.assertEqual(parse_version(" v2.0.1"), (2, 0, 1))

    def test_missing_numbers_are_zero(self) -> None:
        self.assertEqual(parse_version("3"), (3, 0, 0))
        self.assertEqual(parse_version("3.4"), (3, 4, 0))

    def test_what_is_no_version(self) -> None:
        for text in ("", "1.x", "1.2.3.4", "1..2"):
            with self.assertRaises(ValueError):
                parse_version(text)

    def test_newest_goes_by_number(self) -> None:
        self.assertEqual(newest(["1.9.0", "1.10.0", "1.2"]), "1.10.0")
        self.assertEqual(newest(["v0.9", "0.8.7"]), "v0.9")

    def test_bump(self) -> None:
        self.assertEqual(bump("1.2.3", "patch"), "1.2.4")
        self.assertEqual(bump("1.2.3", "minor"), "1.3.0")
        self.assertEqual(bump("1.2.3", "major"), "2.0.0")

    def test_bump_what_it_does_not_have(self) -> None:
        with self.assertRaises(ValueError):
            bump("1.2.3", "build")

    def test_compatible(self) -> None:
        self.assertTrue(is_compatible("1.2", "1.2.0"))
        self.assertTrue(is_compatible("1.2", "1.10"))
        self.assertFalse(is_compatible("1.2", "1.1.9"))
        self.assertFalse(is_compatible("1.2", "2.3"))
