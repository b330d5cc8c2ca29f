"""Completion for fish."""

from command_model import EXTENT_ENDINGS, OUR_MOUNTS, kind_of, summary

HEAD = """\
# Completion of {name} for fish, made from the program's help.

# Images and folders, not the extents of images.
function __{name}_images
    set -l word (string replace -r -- '^-[^=]*=' '' (commandline -ct))
    __fish_complete_path "$word" | string match -rie '(?:/|\\.vmdk|\\.ova)(?:\\t.*)?$' \\
        | string match -riev -- '-(?:{extents})\\.vmdk(?:\\t.*)?$'
end

function __{name}_mounts
    {mounts} 2>/dev/null | string unescape
end

complete -c {name} -f
"""

MOUNTER = """\
# Words that are no options, the program aside.
function __vmdkfuse_operands
    count (commandline -opc | string match -v -- '-*')
end

complete -c vmdkfuse -n 'not __fish_contains_opt -s u unmount list; and test (__vmdkfuse_operands) -eq 1' -a '(__vmdkfuse_images)'
complete -c vmdkfuse -n 'not __fish_contains_opt -s u unmount list; and test (__vmdkfuse_operands) -eq 2' -F
complete -c vmdkfuse -n '__fish_contains_opt -s u unmount' -a '(__vmdkfuse_mounts)'
"""


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def value_of(name, option):
    """The part of `complete` that is about the value."""
    if not option.values:
        return ""
    takes = "" if option.value_optional else " -x"
    kind = kind_of(option)
    if kind == "file":
        return " -r -F"
    words = list(option.choices)
    if kind == "image":
        words.append(f"(__{name}_images)")
    elif kind == "dir":
        words.append("(__fish_complete_directories)")
    return f"{takes} -a {quoted(' '.join(words))}" if words else takes


def option_line(program, command, option):
    words = [f"complete -c {program.name}"]
    if command.verb:
        words.append(f"-n '__fish_seen_subcommand_from {command.verb}'")
    if option.letter:
        words.append(f"-s {option.letter}")
    words.append(f"-l {option.name}{value_of(program.name, option)}")
    words.append(f"-d {quoted(summary(option))}")
    return " ".join(words)


def verb_lines(program):
    name = program.name
    for command in program.commands:
        yield (f"complete -c {name} -n __fish_use_subcommand -a {command.verb} "
               f"-d {quoted(command.purpose)}")
    for command in program.commands:
        what = "mounts" if command.operand == "mountpoint" else "images"
        yield f"complete -c {name} -n '__fish_seen_subcommand_from {command.verb}' -a '(__{name}_{what})'"


def render(program):
    extents = "|".join(EXTENT_ENDINGS)
    text = HEAD.format(name=program.name, extents=extents, mounts=OUR_MOUNTS)
    if program.commands[0].verb:
        lines = list(verb_lines(program))
    else:
        text += MOUNTER
        words = " ".join(program.list_words)
        lines = [f"complete -c vmdkfuse -s o -x -a '(__fish_complete_list , \"string split \\\" \\\" "
                 f"-- \\\"{words}\\\"\")' -d 'a long option without dashes, or one of mount(8)'"]
    for command in program.commands:
        lines += [option_line(program, command, option) for option in command.options]
    return text + "\n".join(lines) + "\n"
