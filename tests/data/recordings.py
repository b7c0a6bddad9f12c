"""The recordings that install with moonshine-voice, and what is said in them, written down by hand.

Two Cities: the opening of A Tale of Two Cities (Charles Dickens, 1859).
Endgame: lines in the manner of Nagg and Nell, spoken by two synthetic voices, a man's and a woman's, in turn.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

ASSETS = Path(str(files("moonshine_voice"))) / "assets"
TWO_CITIES = ASSETS / "two_cities.wav"
ENDGAME = ASSETS / "endgame_nagg_nell.wav"
BECKETT = ASSETS / "beckett.wav"

TWO_CITIES_TEXT = """
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the
epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the
spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were all going
direct to Heaven, we were all going direct the other way. In short, the period was so far like the present period, that
some of its noisiest authorities insisted on its being received, for good or for evil, in the superlative degree of
comparison only.
"""

NAGG, NELL = "Nagg", "Nell"

ENDGAME_LINES = (
    (NAGG, "Do you hear me?"),
    (NELL, "Yes."),
    (NAGG, "Do you hear me?"),
    (NELL, "Yes."),
    (NAGG, "We laugh less heartily, so we have still that resource."),
    (NELL, "We laugh less heartily, so we have still that resource?"),
    (NAGG, "No, not heartily, just less heartily."),
    (NELL, "Ah, that's a good story. Ah, that's a good story."),
    (NAGG, "What are you talking about?"),
    (NELL, "Laughing."),
    (NAGG, "I thought you were in pain."),
    (NELL, "Not now."),
    (NAGG, "Do you remember the day I went and fetched you from that ditch?"),
    (NELL, "No."),
)
