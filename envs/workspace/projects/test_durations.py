import unittest

from envs.workspace.projects.durations import clock_time, format_duration, minutes_of, parse_duration


class DurationsTest(unittest.TestCase):
    def test_parse(self) -> None:
        self.assertEqual(parse_duration("45s"), 45)
        self.assertEqual(parse_duration("1h30m"), 5400)
        self.assertEqual(parse_duration("2d 1s"), 172801)

    def test_what_is_no_duration(self) -> None:
        for text in ("", "5", "h", "3 weeks", "1h!"):
            with self.assertRaises(ValueError):
                parse_duration(text)

    def test_format(self) -> None:
        self.assertEqual(format_duration(5400), "1h 30m")
        self.assertEqual(format_duration(172801), "2d 1s")
        self.assertEqual(format_duration(0), "0s")

    def test_there_and_back(self) -> None:
        for seconds in (1, 59, 60, 3601, 90061):
            self.assertEqual(parse_duration(format_duration(seconds)), seconds)

    def test_negative(self) -> None:
        with self.assertRaises(ValueError):
            format_duration(-1)

    def test_clock(self) -> None:
        self.assertEqual(clock_time(545), "09:05")
        self.assertEqual(clock_time(0), "00:00")
        self.assertEqual(clock_time(1440), "00:00")
        self.assertEqual(clock_time(1500), "01:00")

    def test_minutes(self) -> None:
        self.assertEqual(minutes_of("09:05"), 545)
        self.assertEqual(minutes_of("23:59"), 1439)
        for time in ("24:00", "12:60", "noon", "7"):
            with self.assertRaises(ValueError):
                minutes_of(time)
