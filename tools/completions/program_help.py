"""What vmdkfuse and vmdkctl say of their options in their own helps.

Completions are made from it, and tests compare the manual and the README with it, so an option that
is in the help is everywhere or a test names the place where it is missing.
"""

import dataclasses
import re
import subprocess

# "  -r, --ro   text", "      --uid=U --gid=G   text", "      --repair[=tables]  text"
OPTION_LINE = re.compile(r"^  (?:-(?P<letter>[A-Za-z]), |    )(?P<names>--\S+(?: --\S+)*)(?: +(?P<text>\S.*))?$")
SIGNATURE = re.compile(r"^--([a-z][a-z-]*)(?:\[=(.*)\]|=(.*))?$")
# A value with an explanation of its own below its option: "      auto          writeback where ..."
VALUE_LINE = re.compile(r"^ {26}([a-z-]+)(?: {2,}\S.*)?$")
LIST_LINE = re.compile(r"^  -o OPT")



@dataclasses.dataclass
class Option:
    name: str
    letter: str = ""
    values: list = dataclasses.field(default_factory=list)  # as the help calls them; none: a flag
    value_optional: bool = False
    group: str = ""
    text: str = ""
    choices: list = dataclasses.field(default_factory=list)  # the only values, or some of them

    def signature(self):
        """As in the help: "--type=T"."""
        return [self.written(value) for value in self.values] or [f"--{self.name}"]

    def written(self, value):
        return f"--{self.name}[={value}]" if self.value_optional else f"--{self.name}={value}"


@dataclasses.dataclass
class Verb:
    name: str
    operands: str
    purpose: str
    options: list


def ask(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def words_of_list(text):
    """The choices that a text lists: "ide, buslogic or lsilogic", also behind a colon."""
    text = re.sub(r"\([^)]*\)|\[[^]]*\]", "", text).rsplit(": ", 1)[-1]
    words = [word.strip() for word in re.split(r",| or ", text)]
    if len(words) < 2 or not all(re.fullmatch(r"[A-Za-z][A-Za-z-]*", word) for word in words):
        return []
    return words


def note_choices(option):
    """Values in small letters are meant as they stand: "a|b", "tables"."""
    for value in option.values:
        for word in value.split("|"):
            if re.fullmatch(r"[a-z][a-z-]*", word) and word not in option.choices:
                option.choices.append(word)
    if option.values and not option.choices:
        option.choices = words_of_list(option.text)


def note_option(options, match, group):
    """The options of a line; those of which the text goes on in the next lines."""
    new = []
    for word in match["names"].split(" "):
        name, optional, value = SIGNATURE.match(word).groups()
        if name not in options:
            options[name] = Option(name, match["letter"] or "", group=group, text=match["text"] or "")
            new.append(options[name])
        options[name].value_optional = optional is not None
        if optional or value:
            options[name].values.append(optional or value)
    return new


def parse_options(help_text):
    """The options in the order of the help."""
    options = {}
    group = ""
    latest = []
    for line in help_text.splitlines():
        option = OPTION_LINE.match(line)
        # Only the help with groups explains values one by one.
        value = VALUE_LINE.match(line) if group else None
        if option:
            latest = note_option(options, option, group)
        elif LIST_LINE.match(line) or not line.startswith("   "):
            latest = []
            if re.fullmatch(r"[A-Z][a-z]+", line):
                group = line
        elif value:
            for each in latest:
                each.choices.append(value[1])
        else:
            for each in latest:
                if not each.choices:
                    each.text += " " + line.strip()
    for option in options.values():
        note_choices(option)
    return list(options.values())


def options_of_mount(vmdkfuse):
    return parse_options(ask(vmdkfuse, "--help-all"))


def mount_words(vmdkfuse):
    """What -o takes besides our own options; a word that ends with "=" has a value."""
    words = []
    inside = False
    for line in ask(vmdkfuse, "--help-all").splitlines():
        if LIST_LINE.match(line):
            inside = True
        elif inside and line.startswith(" " * 24):
            words += [re.sub(r"=.*", "=", word) for word in re.findall(r"[a-z_]+(?:=[A-Z]+)?", line)]
        else:
            inside = False
    return words


def verbs_of(vmdkctl):
    listed = ask(vmdkctl, "--help").split("\n\n")[1]
    names = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    verbs = []
    for name in names:
        text = ask(vmdkctl, name, "--help")
        usage, purpose = text.split("\n\n")[0].split("\n", 1)
        operands = usage.removeprefix(f"Usage: vmdkctl {name} [OPTION...] ")
        first = re.split(r"[.:] ", " ".join(purpose.split()))[0].rstrip(".")
        verbs.append(Verb(name, operands, first, parse_options(text.split("\n\n", 1)[1])))
    return verbs
