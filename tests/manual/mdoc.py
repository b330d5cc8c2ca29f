"""As much of mdoc(7) as is needed to find the options in our manuals."""

import dataclasses
import re


def plain(line):
    """The text of what stands behind ".It": "Fl p , Fl -progress" is "-p, --progress"."""
    text = ""
    flag = glued = False
    closing = ""
    for token in line.split():
        if token == "Ns":
            glued, flag = True, False
        elif token == "Op":
            text += ("" if glued else " ") + "["
            closing, glued = "]" + closing, True
        elif token in ("Fl", "Ar", "Cm", "Ql", "Pa", "Ic"):
            flag = token == "Fl"
        elif token in (",", ".", ":", ";"):
            text += token
        else:
            mark = "-" if flag and token != "|" else ""
            text += ("" if glued else " ") + mark + token
            glued = False
    return text.strip() + closing


@dataclasses.dataclass
class Item:
    signature: str  # "-p, --progress"
    body: str


@dataclasses.dataclass
class Section:
    synopsis: list  # the optional words, without brackets
    items: list


def sections(text):
    """The parts of a manual by their headings, also by those of the second order."""
    found = {}
    current = Section([], [])
    item = None
    for line in text.splitlines():
        if re.match(r"\.S[hs] ", line):
            current = found.setdefault(line[4:], Section([], []))
            item = None
        elif line.startswith(".It Fl "):
            item = Item(plain(line.removeprefix(".It")), "")
            current.items.append(item)
        elif line.startswith(".Op Fl "):
            current.synopsis.append(plain(line.removeprefix(".Op")))
        elif item is not None and not line.startswith(".Bl "):  # which has a width, maybe a word's
            item.body += line + "\n"
    return found
