import unittest

from envs.workspace.projects.rows import format_row, parse_row, read_table


class RowsTest(unittest.TestCase):
    def test_plain_cells(self) -> None:
        self.assertEqual(parse_row("a,b,c"), ["a", "b", "c"])
        self.assertEqual(parse_row(""), [""])

    def test_empty_cells(self) -> None:
        self.assertEqual(parse_row(",a,,"), ["", "a", "", ""])

    def test_a_separator_in_quotes(self) -> None:
        self.assertEqual(parse_row('1,"x, y",2'), ["1", "x, y", "2"])

    def test_a_quote_written_twice(self) -> None:
        self.assertEqual(parse_row('"say ""hi""",b'), ['say "hi"', "b"])

    def test_an_open_quote(self) -> None:
        with self.assertRaises(ValueError):
            parse_row('a,"b')

    def test_format(self) -> None:
        self.assertEqual(format_row(["a", "b c"]), "a,b c")
        self.assertEqual(format_row(["x, y", 'say "hi"']), '"x, y","say ""hi"""')

    def test_there_and_back(self) -> None:
        cells = ["", 'a"b', "c,d", "e"]
        self.assertEqual(parse_row(format_row(cells)), cells)

    def test_a_table(self) -> None:
        rows = read_table("name,age\nAna,31\n\nBen,\nCleo\n")
        self.assertEqual(rows[0], {"name": "Ana", "age": "31"})
        self.assertEqual(rows[1:], [{"name": "Ben", "age": ""}, {"name": "Cleo", "age": ""}])
        self.assertEqual(read_table("\n"), [])
