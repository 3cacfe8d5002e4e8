"""Small pieces of HTML. Whatever is not `Html` is text and is escaped; there is no other way in."""

import html
import json
import re
from collections.abc import Iterable
from typing import Any

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MINUS = re.compile(r"(?<![\w)-])-(?=\.?\d)")


class Html(str):
    """Text that is HTML already, made by this module's functions or written in our own source."""

    __slots__ = ()

    def __html__(self) -> "Html":
        """Return itself: templates take it as it is."""
        return self


def escape(content: Any) -> Html:
    """Return anything as HTML: what is HTML as it is, all else as escaped text without control characters."""
    if hasattr(content, "__html__"):
        return Html(content.__html__())
    return Html(html.escape(_CONTROLS.sub("\ufffd", str(content)), quote=True))


def typeset(text: str) -> str:
    r"""Return a sentence with true minus signs, and percent signs that stay with their numbers.

    Examples
    --------
    >>> typeset("r = -0.1, 95 % bound")
    'r = −0.1, 95\xa0% bound'
    """
    return _MINUS.sub("−", text).replace(" %", "\u00a0%")


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """Return an element; attribute names lose a trailing underscore, other underscores become dashes.

    Examples
    --------
    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{''.join(map(escape, content))}</{tag}>")


def items(contents: Iterable[Any], **attributes: Any) -> Html:
    """Return a list, or nothing for none."""
    entries = [element("li", content) for content in contents]
    return element("ul", *entries, **attributes) if entries else Html("")


def details(summary: str, *content: Any) -> Html:
    """Return content that opens on demand, by keyboard too."""
    return element("details", element("summary", summary), *content)


def breakable(text: str) -> Html:
    """Return a long name as HTML that may break after its colons."""
    return Html(escape(text).replace(":", ":<wbr>"))  # escaping itself adds no colon


def json_script(name: str, value: Any) -> Html:
    """Return data for the page's script; no text in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Html(f'<script type="application/json" id="{escape(name)}">{text}</script>')
