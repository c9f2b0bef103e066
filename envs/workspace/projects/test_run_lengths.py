import unittest

from envs.workspace.projects.run_lengths import decode_runs, encode_runs, longest_run


class RunLengthsTest(unittest.TestCase):
    def test_encode(self) -> None:
        self.assertEqual(encode_runs("aaabcc"), "3a1b2c")
        self.assertEqual(encode_runs(""), "")

    def test_a_character_that_comes_back(self) -> None:
        self.assertEqual(encode_runs("aba"), "1a1b1a")

    def test_digits_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            encode_runs("a1")

    def test_decode(self) -> None:
        self.assertEqual(decode_runs("3a1b2c"), "aaabcc")
        self.assertEqual(decode_runs(""), "")

    def test_long_runs(self) -> None:
        self.assertEqual(decode_runs("12x"), "x" * 12)
        self.assertEqual(decode_runs(encode_runs("y" * 105 + "z")), "y" * 105 + "z")

    def test_what_is_no_code(self) -> None:
        for code in ("a", "2ab", "3"):
            with self.assertRaises(ValueError):
                decode_runs(code)

    def test_the_longest_run(self) -> None:
        self.assertEqual(longest_run("abbbcc"), ("b", 3))
        self.assertEqual(longest_run("aabb"), ("a", 2))
        self.assertEqual(longest_run(""), ("", 0))
