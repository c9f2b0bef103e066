import unittest

from envs.workspace.projects.money import add_tax, format_amount, parse_amount, split_evenly


class MoneyTest(unittest.TestCase):
    def test_parse(self) -> None:
        self.assertEqual(parse_amount("12.34"), 1234)
        self.assertEqual(parse_amount("$1,234.50"), 123450)
        self.assertEqual(parse_amount(" 1,000,000 "), 100000000)

    def test_parse_one_digit_of_cents(self) -> None:
        self.assertEqual(parse_amount("7.5"), 750)

    def test_parse_what_is_owed(self) -> None:
        self.assertEqual(parse_amount("-3"), -300)

    def test_parse_what_is_no_amount(self) -> None:
        for text in ("", "abc", "1.234", "1,23", "--4"):
            with self.assertRaises(ValueError):
                parse_amount(text)

    def test_format(self) -> None:
        self.assertEqual(format_amount(123450), "$1,234.50")
        self.assertEqual(format_amount(5), "$0.05")

    def test_format_what_is_owed(self) -> None:
        self.assertEqual(format_amount(-250), "-$2.50")

    def test_split(self) -> None:
        self.assertEqual(split_evenly(1000, 3), [334, 333, 333])
        self.assertEqual(split_evenly(1001, 2), [501, 500])
        self.assertEqual(split_evenly(900, 3), [300, 300, 300])

    def test_split_among_nobody(self) -> None:
        with self.assertRaises(ValueError):
            split_evenly(100, 0)

    def test_tax(self) -> None:
        self.assertEqual(add_tax(1000, 20), 1200)
        self.assertEqual(add_tax(150, 7), 161)
        self.assertEqual(add_tax(149, 1), 150)
