"""The languages we transcribe: those of Whisper's tokenizer, under its own codes.

Source: LANGUAGES in whisper/tokenizer.py (openai-whisper 20240930), 100 languages since whisper-large-v3. The codes
are ISO 639-1 but for Javanese (Whisper says `jw`), Hawaiian and Cantonese, which have no two-letter code.
"""

from __future__ import annotations

AUTO_DETECT = ""

# fmt: off
_NAMES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "as": "Assamese", "az": "Azerbaijani", "ba": "Bashkir",
    "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "bo": "Tibetan", "br": "Breton", "bs": "Bosnian",
    "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fo": "Faroese",
    "fr": "French", "gl": "Galician", "gu": "Gujarati", "ha": "Hausa", "haw": "Hawaiian", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "ht": "Haitian Creole", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "jw": "Javanese", "ka": "Georgian", "kk": "Kazakh",
    "km": "Khmer", "kn": "Kannada", "ko": "Korean", "la": "Latin", "lb": "Luxembourgish", "ln": "Lingala", "lo": "Lao",
    "lt": "Lithuanian", "lv": "Latvian", "mg": "Malagasy", "mi": "Maori", "mk": "Macedonian", "ml": "Malayalam",
    "mn": "Mongolian", "mr": "Marathi", "ms": "Malay", "mt": "Maltese", "my": "Myanmar", "ne": "Nepali", "nl": "Dutch",
    "nn": "Nynorsk", "no": "Norwegian", "oc": "Occitan", "pa": "Punjabi", "pl": "Polish", "ps": "Pashto",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sa": "Sanskrit", "sd": "Sindhi", "si": "Sinhala",
    "sk": "Slovak", "sl": "Slovenian", "sn": "Shona", "so": "Somali", "sq": "Albanian", "sr": "Serbian",
    "su": "Sundanese", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik", "th": "Thai",
    "tk": "Turkmen", "tl": "Tagalog", "tr": "Turkish", "tt": "Tatar", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek",
    "vi": "Vietnamese", "yi": "Yiddish", "yo": "Yoruba", "yue": "Cantonese", "zh": "Chinese",
}
# fmt: on

_FIRST = ("en", "es", "fr")  # the contract lists them first

# Codes that standards and clients use for a language of the list above.
_ALIASES = {"jv": "jw", "nb": "no", "iw": "he", "fil": "tl"}


def languages() -> list[tuple[str, str]]:
    """Every language as (code, English name): auto-detection first, then the contract's three, then by name."""
    rest = sorted((item for item in _NAMES.items() if item[0] not in _FIRST), key=lambda item: item[1])
    return [(AUTO_DETECT, "Auto-detect"), *((code, _NAMES[code]) for code in _FIRST), *rest]


def find_language(text: str) -> str | None:
    """The code that ``text`` stands for, whatever its case ("" is auto-detection); None for anything else."""
    code = text.strip().lower()
    code = _ALIASES.get(code, code)
    return code if code == AUTO_DETECT or code in _NAMES else None


def language_codes() -> list[str]:
    """Every code in alphabetical order."""
    return sorted(_NAMES)
