"""Parsed JSON that knows its place: every fault names the key."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bayes_ctxlaw.errors import FileFormatError

_SHOW = reprlib.Repr(maxstring=40, maxother=40, maxlist=3, maxdict=3, maxlong=30)
_REQUIRED = object()

MAX_COUNT = 2**53
"""Larger whole numbers are not told apart as float64."""


def parse(data: bytes, where: str = "") -> Any:
    """Parse JSON text; a fault says where in the file it is."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise FileFormatError(f"{where}the JSON is nested too deeply to be read.") from error
    except ValueError as error:  # not JSON, not UTF-8, or a whole number of thousands of digits
        raise FileFormatError(f"{where}this is not JSON: {error}.") from error


def load(path: Path) -> Any:
    """Read and parse one JSON file."""
    return parse(contents(path))


def load_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each line of a JSON Lines file, parsed, with its number in words."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"line {number}", parse(line, f"line {number}: ")
    except OSError as error:
        raise FileFormatError(f"it cannot be read: {error.strerror or error}.") from error


def contents(path: Path) -> bytes:
    """Read the bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"it cannot be read: {error.strerror or error}.") from error


def show(value: object) -> str:
    """Show what was found, shortened."""
    return _SHOW.repr(value)


def as_number(value: object, key: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number in [low, high], or raise the fault of `key`."""
    allowed = "a finite number"
    if low > -math.inf or high < math.inf:
        upper = f" and at most {high:g}" if high < math.inf else ""
        allowed = f"a number, at least {low:g}{upper}"
    # bool is an int to Python; in these files true is not a number.
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and low <= number <= high:
            return number
    raise FileFormatError(f"key `{key}` is {show(value)}; allowed: {allowed}.")


def as_count(value: object, key: str, low: int = 0) -> int:
    """Return a whole number of at least `low`, or raise the fault of `key`."""
    number = as_number(value, key, low, MAX_COUNT)
    if number != math.floor(number):
        raise FileFormatError(f"key `{key}` is {show(value)}; allowed: a whole number.")
    return int(number)


def as_text(value: object, key: str) -> str:
    """Return a label: text, not empty and fit for a file; or raise the fault of `key`."""
    if isinstance(value, str) and value and value == value.strip():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FileFormatError(f"key `{key}` holds half a character: {show(value)}.") from error
        return value
    allowed = "text, not empty, without spaces at either end"
    raise FileFormatError(f"key `{key}` is {show(value)}; allowed: {allowed}.")


class Fields:
    """A JSON object and the way to it.

    Parameters
    ----------
    value : object
        What was found; anything but an object is a fault.
    path : str
        Keys that lead here, joined by dots; empty at the top.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            where = f"key `{path}`" if path else "the file"
            raise FileFormatError(f"{where} holds {show(value)}; allowed: an object, {{…}}.")
        self.value = value
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def __iter__(self) -> Iterator[str]:
        return iter(self.value)

    def key(self, key: str) -> str:
        """The full way to one of its keys."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str, default: object = _REQUIRED) -> Any:
        """Return what stands under a key, of whatever kind."""
        if key in self.value:
            return self.value[key]
        if default is _REQUIRED:
            raise FileFormatError(f"key `{self.key(key)}` is missing.")
        return default

    def fields(self, key: str, optional: bool = False) -> Fields:
        """Return the object under a key; an empty one for a missing key if that is allowed."""
        return Fields(self.get(key, {}) if optional else self.get(key), self.key(key))

    def items(self, key: str) -> list[Any]:
        """Return the list under a key, which must not be empty."""
        value = self.get(key)
        if not isinstance(value, list) or not value:
            raise FileFormatError(
                f"key `{self.key(key)}` is {show(value)}; allowed: a list, not empty."
            )
        return value

    def text(self, key: str) -> str:
        """Return the text under a key."""
        return as_text(self.get(key), self.key(key))

    def count(self, key: str, low: int = 0) -> int:
        """Return the whole number under a key."""
        return as_count(self.get(key), self.key(key), low)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return the number under a key."""
        return as_number(self.get(key), self.key(key), low, high)
