import unittest

from envs.workspace.projects.meetings import busiest, common_slots, first_slot, free_slots

BOOKED = [(540, 600), (660, 720), (960, 1020)]


class MeetingsTest(unittest.TestCase):
    def test_free_slots(self) -> None:
        self.assertEqual(free_slots(BOOKED, 30), [(600, 660), (720, 960)])
        self.assertEqual(free_slots([], 60), [(540, 1020)])

    def test_a_slot_may_fit_exactly(self) -> None:
        self.assertEqual(free_slots(BOOKED, 60), [(600, 660), (720, 960)])
        self.assertEqual(free_slots(BOOKED, 61), [(720, 960)])

    def test_the_first_slot(self) -> None:
        self.assertEqual(first_slot(BOOKED, 30), "10:00")
        self.assertEqual(first_slot(BOOKED, 120), "12:00")
        self.assertIsNone(first_slot(BOOKED, 300))

    def test_the_busiest(self) -> None:
        self.assertEqual(busiest({"ana": [(540, 600)], "ben": [(540, 660)]}), "ben")
        self.assertEqual(busiest({"cleo": [(540, 600)], "ana": [(600, 660)]}), "ana")

    def test_what_is_booked_twice_counts_once(self) -> None:
        self.assertEqual(busiest({"ana": [(540, 600), (540, 600)], "ben": [(540, 650)]}), "ben")

    def test_common_slots(self) -> None:
        calendars = {"ana": [(540, 700)], "ben": [(690, 800), (900, 1020)]}
        self.assertEqual(common_slots(calendars, 60), [(800, 900)])
