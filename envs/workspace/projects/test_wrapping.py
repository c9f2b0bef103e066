import unittest

from envs.workspace.projects.wrapping import in_columns, indent_lines, shorten, wrap_words


class WrappingTest(unittest.TestCase):
    def test_lines_of_whole_words(self) -> None:
        self.assertEqual(wrap_words("the quick brown fox", 10), ["the quick", "brown fox"])

    def test_a_line_may_be_full(self) -> None:
        self.assertEqual(wrap_words("aaa bbb ccc", 7), ["aaa bbb", "ccc"])

    def test_a_word_that_is_too_long(self) -> None:
        self.assertEqual(wrap_words("a extraordinary b", 5), ["a", "extraordinary", "b"])

    def test_nothing_to_wrap(self) -> None:
        self.assertEqual(wrap_words("  ", 5), [])

    def test_shorten(self) -> None:
        self.assertEqual(shorten("hello world", 11), "hello world")
        self.assertEqual(shorten("hello world", 8), "hello...")
        self.assertEqual(shorten("hello world", 9), "hello...")
        self.assertEqual(shorten("abcdef", 5, "+"), "abcd+")

    def test_indent(self) -> None:
        self.assertEqual(indent_lines("a\n\nb", 2), "  a\n\n  b")

    def test_columns(self) -> None:
        rows = [["name", "n"], ["x", "100"]]
        self.assertEqual(in_columns(rows), ["name  n", "x     100"])
        self.assertEqual(in_columns(rows, gap=1), ["name n", "x    100"])
