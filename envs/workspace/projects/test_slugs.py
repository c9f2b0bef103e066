import unittest

from envs.workspace.projects.slugs import MAX_LENGTH, slugify, title_of, unique_slug


class SlugsTest(unittest.TestCase):
    def test_words(self) -> None:
        self.assertEqual(slugify("Hello World"), "hello-world")

    def test_what_is_no_letter_becomes_one_dash(self) -> None:
        self.assertEqual(slugify("  What -- is this?! "), "what-is-this")

    def test_accents_go(self) -> None:
        self.assertEqual(slugify("Café Münster"), "cafe-munster")

    def test_digits_stay(self) -> None:
        self.assertEqual(slugify("Top 10 of 2024"), "top-10-of-2024")

    def test_long_titles(self) -> None:
        self.assertEqual(slugify("x" * 200), "x" * MAX_LENGTH)
        self.assertEqual(slugify("y" * (MAX_LENGTH - 1) + " z"), "y" * (MAX_LENGTH - 1))

    def test_taken_names(self) -> None:
        self.assertEqual(unique_slug("My Trip", []), "my-trip")
        self.assertEqual(unique_slug("My Trip", ["my-trip"]), "my-trip-2")
        self.assertEqual(unique_slug("My Trip", ["my-trip", "my-trip-2", "my-trip-3"]), "my-trip-4")

    def test_titles(self) -> None:
        self.assertEqual(title_of("my-long-trip"), "My Long Trip")
        self.assertEqual(title_of(""), "")
