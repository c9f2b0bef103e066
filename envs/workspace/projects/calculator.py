"""Arithmetic that is written as text."""

import re

Token = int | str


def tokenize(text: str) -> list[Token]:
    """Numbers and signs; ValueError for a character that is neither."""
    tokens: list[Token] = []
    for number, sign, other in re.findall(r"(\d+)|([-+*/()])|(\S)", text):
        if other:
            raise ValueError(f"{other!r} is no part of a sum")
        tokens.append(int(number) if number else sign)
    return tokens


def evaluate(text: str) -> int:
    """The value of an expression with + - * / and brackets. Division drops the remainder.

    Raises ValueError for what is no expression, ZeroDivisionError for a division by zero.
    """
    tokens = tokenize(text)
    value = _sum(tokens)
    if tokens:
        raise ValueError(f"{tokens[0]!r} is out of place")
    return value


def _sum(tokens: list[Token]) -> int:
    value = _product(tokens)
    while tokens and tokens[0] in ("+", "-"):
        sign = tokens.pop(0)
        right = _product(tokens)
        value = value + right if sign == "+" else value - right
    return value


def _product(tokens: list[Token]) -> int:
    value = _atom(tokens)
    while tokens and tokens[0] in ("*", "/"):
        sign = tokens.pop(0)
        right = _atom(tokens)
        value = value * right if sign == "*" else value // right
    return value


def _atom(tokens: list[Token]) -> int:
    if not tokens:
        raise ValueError("something is missing at the end")
    token = tokens.pop(0)
    if token == "-":
        return -_atom(tokens)
    if token == "(":
        value = _sum(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a bracket is not closed")
        return value
    if isinstance(token, int):
        return token
    raise ValueError(f"{token!r} is out of place")
