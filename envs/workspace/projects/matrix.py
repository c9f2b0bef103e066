"""Small matrices as lists of rows."""

Matrix = list[list[int]]


def transpose(matrix: Matrix) -> Matrix:
    """Rows become columns."""
    return [list(column) for column in zip(*matrix, strict=True)]


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """The product; ValueError where the widths of the left are not the height of the right."""
    if len(left[0]) != len(right):
        raise ValueError(f"{len(left[0])} columns do not fit {len(right)} rows")
    columns = transpose(right)
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left]


def identity(size: int) -> Matrix:
    """The matrix that changes nothing."""
    return [[1 if row == column else 0 for column in range(size)] for row in range(size)]


def minor(matrix: Matrix, row: int, column: int) -> Matrix:
    """The matrix without one row and one column."""
    kept = matrix[:row] + matrix[row + 1 :]
    return [line[:column] + line[column + 1 :] for line in kept]


def determinant(matrix: Matrix) -> int:
    """The determinant, by expanding along the first row; ValueError for a matrix that is not square."""
    if any(len(row) != len(matrix) for row in matrix):
        raise ValueError("only a square matrix has a determinant")
    if len(matrix) == 1:
        return matrix[0][0]
    total = 0
    for column, value in enumerate(matrix[0]):
        sign = -1 if column % 2 else 1
        total += sign * value * determinant(minor(matrix, 0, column))
    return total


def power(matrix: Matrix, exponent: int) -> Matrix:
    """The matrix times itself; to the power of 0 it is the identity."""
    result = identity(len(matrix))
    for _ in range(exponent):
        result = multiply(result, matrix)
    return result
