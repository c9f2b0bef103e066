import unittest

from envs.workspace.projects.roman import from_roman, to_roman


class RomanTest(unittest.TestCase):
    def test_single_symbols(self) -> None:
        self.assertEqual([to_roman(n) for n in (1, 5, 10, 50, 100, 500, 1000)], list("IVXLCDM"))

    def test_subtractive_forms(self) -> None:
        self.assertEqual([to_roman(n) for n in (4, 9, 40, 90, 400, 900)], ["IV", "IX", "XL", "XC", "CD", "CM"])

    def test_long_numbers(self) -> None:
        self.assertEqual(to_roman(1994), "MCMXCIV")
        self.assertEqual(to_roman(3888), "MMMDCCCLXXXVIII")

    def test_the_range(self) -> None:
        self.assertEqual(to_roman(3999), "MMMCMXCIX")
        for number in (0, -1, 4000):
            with self.assertRaises(ValueError):
                to_roman(number)

    def test_back_again(self) -> None:
        for number in (1, 3, 14, 49, 1066, 2024, 3999):
            self.assertEqual(from_roman(to_roman(number)), number)

    def test_lower_case_is_read(self) -> None:
        self.assertEqual(from_roman("mmxxiv"), 2024)

    def test_what_is_no_numeral(self) -> None:
        for text in ("", "IIII", "VX", "ABC", "IC"):
            with self.assertRaises(ValueError):
                from_roman(text)
