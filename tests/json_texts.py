"""JSON as anybody may write it: halves of characters, numbers beyond measure, things that are no JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import strategies as st


def json_object(fields: Mapping[str, str]) -> str:
    """The object of these names and values, which are JSON already."""
    return "{" + ",".join(f"{name}:{value}" for name, value in fields.items()) + "}"


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,25})?", fullmatch=True)
texts = st.text(st.characters(codec=None), max_size=5).map(json.dumps)
values = st.recursive(
    numbers | texts | st.sampled_from(["true", "null", "NaN", "[", ""]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{','.join(each)}]")
        | st.dictionaries(texts, inner, max_size=3).map(json_object)
    ),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3).map(json_object)
