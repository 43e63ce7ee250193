"""Text of others, shown as it is written."""

import re

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~:$&=])")
_FOUND_LATER = re.compile(r":(?=//|[\w+-]+(?:/\w+)?:)|\bwww(?=\.)|[\w+-](?=@)", re.IGNORECASE)
"""Addresses, emoji and icons: these are looked for after escapes have been read."""
_JOINER = "\u2060"  # of no width


def plain(text: str) -> str:
    """Text of a file or a user, to be shown as it is: no Markdown, HTML, LaTeX or emoji codes."""
    apart = _FOUND_LATER.sub(lambda match: match[0] + _JOINER, text)
    return _MARKUP.sub(r"\\\1", apart)
