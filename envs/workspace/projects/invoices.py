"""Invoices: what was sold, and what it comes to."""

from envs.workspace.projects.money import add_tax, format_amount

Sale = tuple[str, int, int]
"""The name of a thing, how many of it, and the price of one in cents."""

FREE_FROM = 10_000


def subtotal(sales: list[Sale]) -> int:
    """What the things cost together, in cents."""
    return sum(number * price for _, number, price in sales)


def shipping_cost(sales: list[Sale]) -> int:
    """What sending costs: 500 cents, and nothing from an amount of FREE_FROM on or where nothing was sold."""
    if not sales or subtotal(sales) >= FREE_FROM:
        return 0
    return 500


def amount_due(sales: list[Sale], tax_percent: int) -> int:
    """The subtotal with its tax, and the shipping, which is not taxed."""
    return add_tax(subtotal(sales), tax_percent) + shipping_cost(sales)


def invoice_lines(sales: list[Sale], tax_percent: int) -> list[str]:
    """A line for each sale, most expensive first, and the amount due."""
    ordered = sorted(sales, key=lambda sale: sale[1] * sale[2], reverse=True)
    lines = [f"{number} x {name}: {format_amount(number * price)}" for name, number, price in ordered]
    return [*lines, f"due: {format_amount(amount_due(sales, tax_percent))}"]
