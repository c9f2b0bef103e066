import unittest
from datetime import date

from envs.workspace.projects.dates import add_months, count_workdays, date_range, last_of_month, quarter_of


class DatesTest(unittest.TestCase):
    def test_a_range_has_both_ends(self) -> None:
        days = list(date_range(date(2024, 2, 27), date(2024, 3, 1)))
        self.assertEqual([day.day for day in days], [27, 28, 29, 1])

    def test_a_range_with_steps(self) -> None:
        days = list(date_range(date(2024, 1, 1), date(2024, 1, 10), 4))
        self.assertEqual([day.day for day in days], [1, 5, 9])

    def test_an_empty_range(self) -> None:
        self.assertEqual(list(date_range(date(2024, 1, 2), date(2024, 1, 1))), [])

    def test_a_step_of_nothing(self) -> None:
        with self.assertRaises(ValueError):
            list(date_range(date(2024, 1, 1), date(2024, 1, 2), 0))

    def test_months_later(self) -> None:
        self.assertEqual(add_months(date(2024, 5, 17), 1), date(2024, 6, 17))
        self.assertEqual(add_months(date(2024, 11, 5), 3), date(2025, 2, 5))
        self.assertEqual(add_months(date(2024, 1, 5), -1), date(2023, 12, 5))

    def test_months_that_are_too_short(self) -> None:
        self.assertEqual(add_months(date(2023, 1, 31), 1), date(2023, 2, 28))
        self.assertEqual(add_months(date(2024, 1, 31), 1), date(2024, 2, 29))

    def test_workdays(self) -> None:
        self.assertEqual(count_workdays(date(2024, 7, 1), date(2024, 7, 7)), 5)
        self.assertEqual(count_workdays(date(2024, 7, 6), date(2024, 7, 7)), 0)
        self.assertEqual(count_workdays(date(2024, 7, 5), date(2024, 7, 5)), 1)

    def test_quarters(self) -> None:
        self.assertEqual([quarter_of(date(2024, month, 1)) for month in (1, 3, 4, 9, 12)], [1, 1, 2, 3, 4])

    def test_the_last_of_a_month(self) -> None:
        self.assertEqual(last_of_month(date(2024, 2, 10)), date(2024, 2, 29))
        self.assertEqual(last_of_month(date(2024, 12, 31)), date(2024, 12, 31))
