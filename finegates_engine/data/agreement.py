"""The `agreement` task: is this English sentence grammatical? Generated, no torch, no network.

Eleven phenomena of subject-verb and reflexive agreement across nouns that distract, after the test
suites of Linzen et al. (arXiv 1611.01368), Marvin and Linzen (arXiv 1808.09031) and BLiMP
(arXiv 1912.00582); words and patterns are our own. Singular and plural, masculine and feminine,
right and wrong are drawn so that no word tells the label, and a pair of neighbours does so in
the `simple` sentences alone: what tells it is which noun governs the verb or reflexive.
Validation uses other words in other patterns than training.
"""

import random
import re

from finegates_engine.data.agreement_words import PATTERNS, WORDS, Words

ROWS = {"train": 900, "validation": 180}
"""Sentences of each phenomenon in each split; half of them are grammatical."""

SEED = 20260209
"""The sentences are a function of this number and the word lists."""

FIRST = {
    "simple": 800,
    "adverbial": 200,
    "there": 200,
    "quantifier": 200,
    "prepositional phrase": 100,
}
"""Phenomena of the first 1,500 training rows, the easy ones before all: a training on a fair
sample of so few rows stays at chance. All other rows follow in random order."""

SAME_SHARE = 0.8
"""Share of the distracting nouns with the number (or gender) of the noun that governs. The rest
decide whether structure was learned: the nearest noun as a rule scores about this share."""

DEMONSTRATIVE_SHARE = 0.7
"""Share of "the" before a noun that becomes "this" or "these", which shows the noun's number."""

ADJECTIVE_SHARE = 0.3
"""Share of the nouns that get an adjective, which varies distances."""

_SLOT = re.compile(r"(?P<the>\bthe )?\{(?:(?P<letter>[SDEOP])(?P<role>[.!=]))?(?P<list>\w+)\}")

_AUXILIARIES = {
    "be": (("is", "are"), ("was", "were")),
    "have": (("has", "have"),),
    "do": (("does", "do"),),
}
_REFLEXIVES = {"masculine": "himself", "feminine": "herself", "plural": "themselves"}


def generate() -> dict[str, list[dict[str, str | int]]]:
    """The splits "train" and "validation": rows of sentence, label, phenomenon, idx.

    label: 1 grammatical, 0 not. idx: number of the row in its split. Rows are shuffled, but the
    first 1,500 training rows are mostly easy (see FIRST). The first N validation rows are a fair
    sample. No sentence comes twice, nor together with its minimal pair.
    """
    return {split: _generate_split(split, count) for split, count in ROWS.items()}


def _generate_split(split: str, count: int) -> list[dict[str, str | int]]:
    generator = random.Random(f"agreement {SEED} {split}")  # noqa: S311, no secret
    patterns, seen = PATTERNS[split], set()
    rows: list[dict[str, str | int]] = []
    for phenomenon, choices in patterns.items():
        made = 0
        while made < count:
            pattern, label = choices[made // 2 % len(choices)], made % 2
            sentence, frame = _Sentence(WORDS[split], generator).fill(pattern, bool(label))
            if frame not in seen:
                seen.add(frame)
                rows.append({"sentence": sentence, "label": label, "phenomenon": phenomenon})
                made += 1
    generator.shuffle(rows)
    if split == "train":
        rows = _easy_first(rows, generator)
    return [row | {"idx": i} for i, row in enumerate(rows)]


def _easy_first(
    rows: list[dict[str, str | int]], generator: random.Random
) -> list[dict[str, str | int]]:
    """The rows that FIRST names in their order, then the others, shuffled again."""
    left = dict(FIRST)
    first: list[dict[str, str | int]] = []
    others: list[dict[str, str | int]] = []
    for row in rows:
        phenomenon = str(row["phenomenon"])
        wanted = left.get(phenomenon, 0) > 0
        (first if wanted else others).append(row)
        if wanted:
            left[phenomenon] -= 1
    generator.shuffle(others)  # else what FIRST left over would come last
    return first + others


class _Sentence:
    """One sentence in the making: the number or gender of each letter, the words used so far."""

    def __init__(self, words: Words, generator: random.Random) -> None:
        self.words = words
        self.generator = generator
        self.used: set[str] = set()
        self.classes: dict[str, str] = {}

    def fill(self, pattern: str, grammatical: bool) -> tuple[str, str]:
        """The sentence, and its frame: what it shares with its minimal pair."""
        kinds = ("masculine", "feminine", "plural") if "!self" in pattern else ("sing", "plural")
        own = self.generator.choice(kinds)
        self.classes = {"S": own, "D": self._distractor(own, kinds)}
        self.classes["E"] = self._distractor(own, kinds)
        self.classes |= {"O": "sing", "P": "plural"}
        forms = ("", "")

        def word(slot: re.Match[str]) -> str:
            nonlocal forms
            letter, role, name = slot["letter"], slot["role"], slot["list"]
            if role == "!":
                forms = self._forms(letter, name)
                return "\0"
            if role == "=":
                return self._verb(name)[self.classes[letter] == "plural"]
            text = self._noun(letter, name) if role else self._draw(name)
            return self._article(letter) + text if slot["the"] else text

        text = _SLOT.sub(word, pattern)
        return _polish(text.replace("\0", forms[not grammatical])), text

    def _distractor(self, own: str, kinds: tuple[str, ...]) -> str:
        if self.generator.random() < SAME_SHARE:
            return own
        return self.generator.choice([kind for kind in kinds if kind != own])

    def _forms(self, letter: str, name: str) -> tuple[str, str]:
        """The form that agrees with a letter, and one that does not."""
        own = self.classes[letter]
        if name == "self":
            others = [kind for kind in _REFLEXIVES if kind != own]
            distractor = self.classes["D"]
            other = distractor if distractor != own else self.generator.choice(others)
            return _REFLEXIVES[own], _REFLEXIVES[other]
        if name in _AUXILIARIES:
            singular, plural = self.generator.choice(_AUXILIARIES[name])
        else:
            singular, plural = self._verb(name)
        return (plural, singular) if own == "plural" else (singular, plural)

    def _verb(self, name: str) -> tuple[str, str]:
        base = self._draw(name)
        return f"{base}s", base

    def _noun(self, letter: str, name: str) -> str:
        own = self.classes[letter]
        if name in ("kin", "who"):
            return self._person_of_gender(own, named=name == "who")
        number = "plural" if own == "plural" else "singular"
        if f"{name}/{number}" in self.words:
            return self._draw(f"{name}/{number}")
        noun = _inflected(self._draw(name), own)
        if f"of_{name}" in self.words and self.generator.random() < ADJECTIVE_SHARE:
            return f"{self._draw(f'of_{name}')} {noun}"
        return noun

    def _article(self, letter: str | None) -> str:
        if letter is None or self.generator.random() >= DEMONSTRATIVE_SHARE:
            return "the "
        return "these " if self.classes[letter] == "plural" else "this "

    def _person_of_gender(self, own: str, *, named: bool) -> str:
        gender = own if own != "plural" else self.generator.choice(("masculine", "feminine"))
        if named and own != "plural" and self.generator.random() < 0.5:
            return self._draw("he" if own == "masculine" else "she")
        noun = _inflected(self._draw(gender), own)
        return f"the {noun}" if named else noun

    def _draw(self, name: str) -> str:
        """A word of a list that the sentence does not have yet."""
        while (word := self.generator.choice(self.words[name])) in self.used:
            pass
        self.used.add(word)
        return word


def _inflected(noun: str, own: str) -> str:
    singular, _, plural = noun.partition("/")
    return (plural or f"{singular}s") if own == "plural" else singular


def _polish(text: str) -> str:
    """A capital at the start, and "an" before a vowel."""
    text = re.sub(r"\ba (?=[aeiou])", "an ", text)
    return text[0].upper() + text[1:]
