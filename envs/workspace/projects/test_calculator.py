import unittest

from envs.workspace.projects.calculator import evaluate, tokenize


class CalculatorTest(unittest.TestCase):
    def test_tokens(self) -> None:
        self.assertEqual(tokenize("12+(3 * 4)"), [12, "+", "(", 3, "*", 4, ")"])

    def test_what_is_no_token(self) -> None:
        with self.assertRaises(ValueError):
            tokenize("2 & 3")

    def test_sums(self) -> None:
        self.assertEqual(evaluate("1 + 2 + 3"), 6)
        self.assertEqual(evaluate("10 - 3 - 2"), 5)

    def test_products_come_first(self) -> None:
        self.assertEqual(evaluate("2 + 3 * 4"), 14)
        self.assertEqual(evaluate("2 * 3 + 4"), 10)

    def test_division(self) -> None:
        self.assertEqual(evaluate("20 / 2 / 5"), 2)
        self.assertEqual(evaluate("7 / 2"), 3)
        with self.assertRaises(ZeroDivisionError):
            evaluate("1 / 0")

    def test_brackets(self) -> None:
        self.assertEqual(evaluate("(2 + 3) * (4 - 1)"), 15)
        self.assertEqual(evaluate("((7))"), 7)

    def test_signs(self) -> None:
        self.assertEqual(evaluate("-4 + 6"), 2)
        self.assertEqual(evaluate("2 * -3"), -6)

    def test_what_is_no_expression(self) -> None:
        for text in ("", "1 +", "(1", "1 2", ")", "* 3"):
            with self.assertRaises(ValueError):
                evaluate(text)
