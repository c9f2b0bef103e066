import unittest

from envs.workspace.projects.invoices import amount_due, invoice_lines, shipping_cost, subtotal

SALES = [("pen", 4, 150), ("desk", 1, 8000)]


class InvoicesTest(unittest.TestCase):
    def test_subtotal(self) -> None:
        self.assertEqual(subtotal(SALES), 8600)
        self.assertEqual(subtotal([]), 0)

    def test_shipping(self) -> None:
        self.assertEqual(shipping_cost(SALES), 500)
        self.assertEqual(shipping_cost([("desk", 2, 8000)]), 0)
        self.assertEqual(shipping_cost([]), 0)

    def test_shipping_is_free_from_the_limit_on(self) -> None:
        self.assertEqual(shipping_cost([("desk", 1, 10000)]), 0)
        self.assertEqual(shipping_cost([("desk", 1, 9999)]), 500)

    def test_shipping_is_not_taxed(self) -> None:
        self.assertEqual(amount_due(SALES, 10), 9960)
        self.assertEqual(amount_due([], 10), 0)

    def test_lines(self) -> None:
        self.assertEqual(invoice_lines(SALES, 10), ["1 x desk: $80.00", "4 x pen: $6.00", "due: $99.60"])
