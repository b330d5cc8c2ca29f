"""Completion for zsh."""

from command_model import EXTENT_ENDINGS, OUR_MOUNTS, kind_of, summary

HEAD = """\
#compdef {name}
# Completion of {name} for zsh, made from the program's help.

# Images, not the extents of images.
_{name}_images() {{
  _files -g '(#i)*.(vmdk|ova)~(#i)*-({extents}).vmdk(-.)'
}}

_{name}_mounts() {{
  local -a mounts
  mounts=(${{(f)"$({mounts} 2>/dev/null)"}})
  mounts=("${{(@g::)mounts}}")
  compadd -f -a mounts
}}
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def described(option):
    text = summary(option)
    for mark in "\\[]:":
        text = text.replace(mark, "\\" + mark)
    return f"[{text}]"


def value_of(name, option):
    message = option.values[0].replace("|", " or ").replace("[", "").replace("]", "").replace(":", " ")
    kind = kind_of(option)
    if kind == "image":
        action = f"_{name}_images"
    elif kind:
        action = "_files -/" if kind == "dir" else "_files"
    else:
        action = f"({' '.join(option.choices)})" if option.choices else " "
    return f"{'::' if option.value_optional else ':'}{message}:{action}"


def argument(name, option):
    """The option as _arguments wants it."""
    if not option.values:
        if option.letter:
            return (f"'(-{option.letter} --{option.name})'{{-{option.letter},--{option.name}}}"
                    + quoted(described(option)))
        return quoted(f"--{option.name}{described(option)}")
    sign = "=-" if option.value_optional else "="
    rest = described(option) + value_of(name, option)
    if option.letter:
        return f"'*'{{-{option.letter}+,--{option.name}{sign}}}" + quoted(rest)
    return quoted(f"*--{option.name}{sign}{rest}")


def arguments(program, command):
    lines = [argument(program.name, option) for option in command.options]
    if program.list_words:
        words = " ".join(word.rstrip("=") for word in program.list_words)
        lines.append(quoted(f"*-o+[a long option without dashes, or one of mount(8)]:option:"
                            f"_values -s , option {words}"))
    return lines


def call(lines, indent):
    return " \\\n".join([f"{indent}_arguments -s -S"] + [f"{indent}  {line}" for line in lines])


def body_of_verbs(program):
    name = program.name
    lines = [f"_{name}() {{", "  if ((CURRENT == 2)); then", "    local -a verbs", "    verbs=("]
    for command in program.commands:
        lines.append("      " + quoted(f"{command.verb}:{command.purpose}"))
    lines += ["    )", "    _describe verb verbs", "    return", "  fi", "  local verb=$words[2]",
              "  shift words", "  ((CURRENT--))", "  case $verb in"]
    for command in program.commands:
        what = "mounts" if command.operand == "mountpoint" else "images"
        given = arguments(program, command) + [f"'*:{command.operand}:_{name}_{what}'"]
        lines += [f"    {command.verb})", call(given, "      "), "      ;;"]
    return "\n".join(lines + ["  esac", "}"])


def body_of_mounter(program):
    given = arguments(program, program.commands[0])
    return "\n".join([
        "_vmdkfuse() {", "  local -a operands",
        "  operands=('1:image:_vmdkfuse_images' '2:mountpoint:_files')",
        "  if ((${words[(I)-u]} || ${words[(I)--unmount]})); then",
        "    operands=('*:mountpoint:_vmdkfuse_mounts')", "  fi",
        call(given + ["$operands"], "  "), "}"])


def render(program):
    text = HEAD.format(name=program.name, extents="|".join(EXTENT_ENDINGS), mounts=OUR_MOUNTS)
    body = body_of_verbs(program) if program.commands[0].verb else body_of_mounter(program)
    return f'{text}\n{body}\n\n_{program.name} "$@"\n'
