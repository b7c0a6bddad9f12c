"""How an English written word is said: numbers spelt out, marks dropped, unknown words sounded out by rule. Pure.

Only good enough to find a word in the sound: the aligner knows the neighbours, so a rough pronunciation suffices.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ((1_000_000_000, "billion"), (1_000_000, "million"), (1_000, "thousand"), (100, "hundred"))
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "#": "number", "°": "degrees"}
CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}

# Longest spelling first wins. Source: the commonest values of English graphemes, as any phonics table lists them.
GRAPHEMES = (
    ("tion", "SH AH N"), ("sion", "ZH AH N"), ("ough", "AO"), ("augh", "AO"), ("eigh", "EY"), ("tch", "CH"),
    ("igh", "AY"), ("dge", "JH"), ("sch", "SH"), ("ing", "IH NG"), ("que", "K"), ("ch", "CH"), ("sh", "SH"),
    ("th", "TH"), ("ph", "F"), ("wh", "W"), ("ck", "K"), ("ng", "NG"), ("qu", "K W"), ("gh", "G"), ("kn", "N"),
    ("wr", "R"), ("ee", "IY"), ("ea", "IY"), ("ai", "EY"), ("ay", "EY"), ("oa", "OW"), ("oo", "UW"), ("ou", "AW"),
    ("ow", "OW"), ("oi", "OY"), ("oy", "OY"), ("au", "AO"), ("aw", "AO"), ("ei", "EY"), ("ey", "IY"), ("ie", "IY"),
    ("ue", "UW"), ("ew", "UW"), ("er", "ER"), ("ir", "ER"), ("ur", "ER"), ("ar", "AA R"), ("or", "AO R"),
    ("a", "AE"), ("b", "B"), ("c", "K"), ("d", "D"), ("e", "EH"), ("f", "F"), ("g", "G"), ("h", "HH"), ("i", "IH"),
    ("j", "JH"), ("k", "K"), ("l", "L"), ("m", "M"), ("n", "N"), ("o", "AA"), ("p", "P"), ("q", "K"), ("r", "R"),
    ("s", "S"), ("t", "T"), ("u", "AH"), ("v", "V"), ("w", "W"), ("x", "K S"), ("y", "IY"), ("z", "Z"),
)  # fmt: skip
TYPOGRAPHIC_APOSTROPHE = "\u2019"
SILENT_MARKS = '"\u201c\u201d\u2018()[]{}<>«»…*_~^|\\—\u2013-!?,;:'
SOFT_BEFORE = "eiy"
VOWELS = "aeiouy"


def spoken_tokens(word: str, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    """The lower-case tokens in which a written word is said; empty if nothing in it is said ("—").

    ``is_known`` says whether the dictionary has a token: "well-known" stays whole if it is there, else becomes two.
    """
    plain = word.lower().replace(TYPOGRAPHIC_APOSTROPHE, "'").strip(SILENT_MARKS)
    if not plain:
        return ()
    for form in (plain, plain.rstrip("."), plain.strip("'."), plain.replace(".", "")):
        if form and is_known(form):
            return (form,)
    if plain.endswith("in'") and is_known(plain[:-1] + "g"):
        return (plain[:-1] + "g",)
    return tuple(token for part in _parts(plain) for token in _tokens_of_part(part, is_known))


def sound_out(token: str) -> str:
    """ARPAbet phones, separated by spaces, for a token of the letters a-z and apostrophes; "" for anything else."""
    letters = token.replace("'", "")
    if not re.fullmatch("[a-z]+", letters):
        return ""
    phones: list[str] = []
    at = 0
    while at < len(letters):
        if at == len(letters) - 1 and letters[at] == "e" and at > 1:
            break  # a final e is silent
        spelling, sound = next((s, p) for s, p in GRAPHEMES if letters.startswith(s, at))
        if spelling in {"c", "g"} and at + 1 < len(letters) and letters[at + 1] in SOFT_BEFORE:
            sound = "S" if spelling == "c" else "JH"
        if spelling == "y" and at == 0:
            sound = "Y"
        if not (phones and phones[-1] == sound and spelling not in VOWELS):  # a doubled consonant is said once
            phones.append(sound)
        at += len(spelling)
    return " ".join(phones)


def number_words(number: int) -> list[str]:
    """A whole number below a trillion as it is read: 1984 → nineteen eighty four, 2026 → two thousand twenty six."""
    if 1100 <= number < 2000 and number % 100 >= 10:
        return number_words(number // 100) + number_words(number % 100)
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10 - 2], *([ONES[number % 10]] if number % 10 else [])]
    for size, name in SCALES:
        if number >= size:
            rest = number_words(number % size) if number % size else []
            return [*number_words(number // size), name, *rest]
    raise AssertionError(number)


def _parts(plain: str) -> list[str]:
    """Numbers, letter runs and symbols, in order: "$3.50" → $, 3.50; "covid-19" → covid, 19."""
    return re.findall(r"\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th)?\b|\d+|[^\W\d_]+(?:'[^\W\d_]+)*|[&%+=@#°$€£]", plain)


def _tokens_of_part(part: str, is_known: Callable[[str], bool]) -> list[str]:
    if part[0].isdecimal():  # "²" is a digit too, but no number; like other letters without a sound it is left out
        return _number_tokens(part)
    if part in SYMBOLS or part in CURRENCIES:
        return [SYMBOLS.get(part) or CURRENCIES[part]]
    if is_known(part):
        return [part]
    if part.endswith("'s") and is_known(part[:-2]):
        return [part[:-2], "s"]
    return _split_unknown(part, is_known)


def _split_unknown(part: str, is_known: Callable[[str], bool]) -> list[str]:
    for cut in range(len(part) - 3, 2, -1):  # "dragonfruit": two known words of three letters or more
        if is_known(part[:cut]) and is_known(part[cut:]):
            return [part[:cut], part[cut:]]
    if len(part) <= 5 and not any(letter in VOWELS for letter in part):
        return list(part)  # an abbreviation is spelt
    return [part]


def _number_tokens(part: str) -> list[str]:
    ordinal = part[-2:] in {"st", "nd", "rd", "th"}
    digits = (part[:-2] if ordinal else part).replace(",", "")
    whole, _, decimals = digits.partition(".")
    if len(whole) > 12 or (len(whole) > 1 and whole.startswith("0")):
        words = [ONES[int(digit)] for digit in whole]
    else:
        words = number_words(int(whole))
    if decimals:
        words += ["point", *(ONES[int(digit)] for digit in decimals)]
    if ordinal:
        words[-1] = _ordinal(words[-1])
    return words


def _ordinal(word: str) -> str:
    if word in ORDINALS:
        return ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"
