"""Contract ids (EMAID, ISO 15118 and eMI3): one normal form, and a check digit that must be right.

The body has 14 characters: country (2), provider (3), instance (9). The check digit is the 15th. It
closes a sum over two small rings: every character stands for four digits (two binary, two ternary),
each position has its own power of a 2x2 matrix, and the whole must come to zero. So any one wrong
character and any two swapped neighbours are found.
"""

from __future__ import annotations

import re

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BODY = 14
_FORM = re.compile(r"[A-Z]{2}[A-Z0-9]{12,13}")
_HYPHENATED = re.compile(
    r"[A-Z]{2}-?[A-Z0-9]{3}-?[A-Z0-9]{9}(-?[A-Z0-9])?", re.ASCII | re.IGNORECASE
)
_SEPARATORS = str.maketrans("", "", "-* ")

_Pair = tuple[int, int]
_Matrix = tuple[_Pair, _Pair]

_BINARY: _Matrix = ((0, 1), (1, 1))  # over the integers modulo 2
_TERNARY: _Matrix = ((0, 1), (1, 2))  # modulo 3


def normalise(contract_id: str) -> str:
    """The normal form: upper case, no separators, 15 characters with its check digit.

    A contract id without a check digit (it is optional in ISO 15118-2) gets the right one.

    Raises:
        ValueError: it has not the form of an EMAID, or its check digit is wrong.
    """
    plain = folded(contract_id)
    if not _FORM.fullmatch(plain):
        raise ValueError(
            "is no EMAID: 2 letters of the country, 3 characters of the provider, "
            "9 of the contract and the check digit"
        )
    body, given = plain[:_BODY], plain[_BODY:]
    right = check_digit(body)
    if given and given != right:
        raise ValueError("has a wrong check digit")
    return body + right


def folded(contract_id: str) -> str:
    """Upper case and no separators, whether or not the rest has the form of an EMAID."""
    return contract_id.upper().translate(_SEPARATORS)


def is_hyphenated(text: str) -> bool:
    """Whether a text of unknown kind is an EMAID: it has hyphens, all of them where they belong.

    Without one nothing tells it from another identifier: the UID of a card, in hexadecimal, can
    have the form of an EMAID without its check digit.
    """
    if "-" not in text or not _HYPHENATED.fullmatch(text):
        return False
    try:
        normalise(text)
    except ValueError:
        return False
    return True


def same(left: str, right: str) -> bool:
    """Whether two spellings mean the same contract: hyphens, case and a left-out check digit.

    Ids that are no EMAID by their form (stations and roaming partners have such) are the same when
    they differ in hyphens and case only.
    """
    return _normal(left) == _normal(right)


def _normal(contract_id: str) -> str:
    try:
        return normalise(contract_id)
    except ValueError:
        return folded(contract_id)


def check_digit(body: str) -> str:
    """The check digit of the 14 characters before it."""
    binary = (0, 0)
    ternary = (0, 0)
    for position, character in enumerate(body, start=1):
        two, three = _digits(character)
        binary = _add(binary, _times(two, _power(_BINARY, position, 2), 2), 2)
        ternary = _add(ternary, _times(three, _power(_TERNARY, position, 3), 3), 3)
    closing_binary = _power(_BINARY, _BODY + 1, 2)
    closing_ternary = _power(_TERNARY, _BODY + 1, 3)
    for character in _ALPHABET:
        two, three = _digits(character)
        if _add(binary, _times(two, closing_binary, 2), 2) == (0, 0) and _add(
            ternary, _times(three, closing_ternary, 3), 3
        ) == (0, 0):
            return character
    raise AssertionError("the closing matrices are invertible")


def _digits(character: str) -> tuple[_Pair, _Pair]:
    """The two binary and the two ternary digits of a character."""
    high, low = divmod(_ALPHABET.index(character), 9)
    return divmod(high, 2), divmod(low, 3)


def _times(row: _Pair, matrix: _Matrix, modulus: int) -> _Pair:
    (a, b), (c, d) = matrix
    x, y = row
    return (x * a + y * c) % modulus, (x * b + y * d) % modulus


def _add(left: _Pair, right: _Pair, modulus: int) -> _Pair:
    return (left[0] + right[0]) % modulus, (left[1] + right[1]) % modulus


def _power(matrix: _Matrix, exponent: int, modulus: int) -> _Matrix:
    result: _Matrix = ((1, 0), (0, 1))
    for _ in range(exponent):
        result = (_times(result[0], matrix, modulus), _times(result[1], matrix, modulus))
    return result
