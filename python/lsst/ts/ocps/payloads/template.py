"""Arguments with placeholders: ``{name}`` stands for a parameter, ``{{`` and ``}}`` for the braces."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Argument", "parse_argument"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command, taken apart."""

    texts: tuple[str, ...]
    """What stands between the placeholders; one more than there are placeholders."""

    names: tuple[str, ...]
    """The placeholders, in order."""

    @property
    def whole(self) -> str | None:
        """The placeholder that is the whole argument; None if there is more to it."""
        return self.names[0] if self.texts == ("", "") else None

    def fill(self, values: Mapping[str, str]) -> str:
        """The argument with the placeholders replaced.

        Parameters
        ----------
        values
            The text for each name.
        """
        parts: Iterable[str] = (
            text + values[name] for text, name in zip(self.texts, self.names, strict=False)
        )
        return "".join(parts) + self.texts[-1]


@lru_cache(maxsize=4096)
def parse_argument(text: str) -> Argument:
    """Take an argument apart.

    Parameters
    ----------
    text
        As written in the definition.

    Raises
    ------
    ValueError
        If a brace has no partner.
    """
    texts, names, end = [""], [], 0
    for token in _TOKEN.finditer(text):
        texts[-1] += text[end : token.start()]
        end = token.end()
        match token[0]:
            case "{{" | "}}":
                texts[-1] += token[0][0]
            case "{" | "}":
                raise ValueError(f"the brace at character {token.start() + 1} has no partner; write it twice")
            case _:
                names.append(token[1])
                texts.append("")
    texts[-1] += text[end:]
    return Argument(tuple(texts), tuple(names))
