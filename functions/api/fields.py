"""Form fields and query parameters as text, read into values; every refusal names its field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from functions.times import read_time
from shared.domain.amounts import MILLICREDITS_PER_CREDIT
from shared.domain.errors import InvalidRequest
from shared.domain.languages import find_language, language_codes
from shared.domain.options import Model

MAX_VOCABULARY_TERMS = 200
MAX_TERM_CHARS = 100
MAX_SPEAKERS = 50

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_CREDITS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,3})?")  # a thousand billion is the ledger's limit
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNFIT = re.compile(rf"{_CONTROL.pattern}|[\ud800-\udfff]")  # for an answer: lone surrogates cannot be encoded


class Fields:
    """Text values by name. An empty or blank value counts as not given: HTML forms send every field they have."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """The one value of a field, stripped; "" when it was not given."""
        given = self._values.get(name, ())
        if len(given) > 1:
            raise InvalidRequest(f"The field '{name}' was given {len(given)} times; give it once.", field=name)
        return given[0].strip() if given else ""

    def boolean(self, name: str, *, default: bool) -> bool:
        """True or false, in any of the spellings clients use."""
        text = self.text(name)
        if not text:
            return default
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise InvalidRequest(f"'{name}' must be true or false, not {quote(text)}.", field=name)

    def optional_whole_number(self, name: str, *, most: int) -> int | None:
        """A number from 0 to ``most``, or None."""
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= most):
            raise InvalidRequest(f"'{name}' must be a whole number from 0 to {most}, not {quote(text)}.", field=name)
        return int(text)

    def model(self) -> Model:
        """The model; the default when none was given."""
        text = self.text("model")
        try:
            return Model(text.lower()) if text else Model.LARGE_V3
        except ValueError:
            allowed = " or ".join(model.value for model in Model)
            raise InvalidRequest(f"Unknown model {quote(text)}. Use {allowed}.", field="model") from None

    def language(self) -> str:
        """The language's code; "" for auto-detection."""
        text = self.text("language")
        code = find_language(text)
        if code is None:
            allowed = ", ".join(language_codes())
            message = f"Unknown language {quote(text)}. Leave it empty for auto-detection or use one of: {allowed}."
            raise InvalidRequest(message, field="language")
        return code

    def credits(self, name: str) -> int | None:
        """An amount of credits in milli-credits; None when it was not given."""
        text = self.text(name)
        return parse_credits(text, name) if text else None

    def count(self, name: str, *, most: int) -> int | None:
        """A number from 1 to ``most``; None when it was not given."""
        return self.whole_number(name, default=1, most=most) if self.text(name) else None

    def whole_number(self, name: str, *, default: int, most: int) -> int:
        """A number from 1 to ``most``."""
        text = self.text(name)
        if not text:
            return default
        if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
            raise InvalidRequest(f"'{name}' must be a whole number from 1 to {most}, not {quote(text)}.", field=name)
        return int(text)

    def day(self, name: str, *, default: date) -> date:
        """A day as YYYY-MM-DD."""
        text = self.text(name)
        try:
            return date.fromisoformat(text) if text else default
        except ValueError:
            raise InvalidRequest(f"'{name}' must be a day like 2026-11-23, not {quote(text)}.", field=name) from None

    def time(self, name: str) -> datetime | None:
        """An RFC 3339 time in UTC, which is also its zone where it names none; None when it was not given."""
        text = self.text(name)
        try:
            return read_time(text.replace(" ", "+"), UTC) if text else None  # an unescaped + arrives as a space
        except ValueError:
            message = f"'{name}' must be a time like 2026-11-23T09:30:00Z, not {quote(text)}."
            raise InvalidRequest(message, field=name) from None

    def vocabulary(self) -> tuple[str, ...]:
        """The terms of `vocabulary`: a JSON array, a comma-separated list, or the field repeated, each term once."""
        given = [*self._values.get("vocabulary", ()), *self._values.get("vocabulary[]", ())]
        terms: dict[str, None] = {}
        for text in given:
            for term in _terms(text):
                terms.update({term: None} if term else {})
        if len(terms) > MAX_VOCABULARY_TERMS:
            message = f"'vocabulary' has {len(terms)} terms; {MAX_VOCABULARY_TERMS} are allowed."
            raise InvalidRequest(message, field="vocabulary")
        return tuple(terms)


def parse_credits(text: str, name: str) -> int:
    """Credits as digits with at most three decimals, in milli-credits; more than nothing."""
    if not _CREDITS.fullmatch(text) or (amount := int(Decimal(text) * MILLICREDITS_PER_CREDIT)) == 0:
        raise InvalidRequest(f"'{name}' must be a positive number of credits like 12.5, not {quote(text)}.", field=name)
    return amount


def quote(text: str) -> str:
    """``text`` as an error message may repeat it: short and on one line."""
    shown = _UNFIT.sub("�", text)
    return f"'{shown[:40]}…'" if len(shown) > 40 else f"'{shown}'"


def _terms(text: str) -> list[str]:
    stripped = text.strip()
    terms = _json_terms(stripped) if stripped[:1] in {"[", "{"} else stripped.split(",")
    cleaned = [" ".join(term.split()) for term in terms]
    for term in cleaned:
        if len(term) > MAX_TERM_CHARS:
            message = f"The vocabulary term {quote(term)} is longer than {MAX_TERM_CHARS} characters."
            raise InvalidRequest(message, field="vocabulary")
        if _CONTROL.search(term):
            raise InvalidRequest("A vocabulary term has control characters in it.", field="vocabulary")
    return cleaned


def _json_terms(text: str) -> list[str]:
    try:
        terms = json.loads(text)
        if isinstance(terms, list) and all(isinstance(term, str) for term in terms):
            "".join(terms).encode()  # a lone surrogate cannot be stored
            return terms
    except (ValueError, RecursionError):  # ValueError covers broken JSON and surrogates
        pass
    message = "'vocabulary' must be a JSON array of strings or a comma-separated list."
    raise InvalidRequest(message, field="vocabulary")
