"""What a completion has to know of a command, whatever the shell."""

import dataclasses
import re

from program_help import options_of_mount, mount_words, verbs_of

# Options whose FILE is an image.
IMAGE_OPTIONS = {"overlay", "parent"}

# Files that belong to an image but are not what one names to open it.
EXTENT_ENDINGS = ["flat", "delta", "sesparse", "ctk", "rdm", "rdmp", "[sf][0-9][0-9][0-9]"]

# The mountpoints that we serve; \x20 stands for a space.
OUR_MOUNTS = "findmnt -rno TARGET -t fuse.vmdkfuse"


@dataclasses.dataclass
class Command:
    verb: str  # "": the program has none
    purpose: str
    options: list
    operand: str  # "image", "mountpoint": what may stand where no option does


@dataclasses.dataclass
class Program:
    name: str
    commands: list
    list_words: list  # of -o; none: there is no such option


def kind_of(option):
    """What the value is, beside the choices: "image", "file", "dir", "" (nobody can guess it)."""
    names = {part for value in option.values for part in value.split("|")}
    if "DIR" in names:
        return "dir"
    if names & {"FILE", "P"}:
        return "image" if option.name in IMAGE_OPTIONS else "file"
    return ""


def summary(option):
    """The beginning of what the help says, for one line."""
    return re.split(r"[.;:](?: |$)| +\[", option.text)[0]


def mounter(path):
    options = options_of_mount(path)
    # What is asked of the program itself is no option of a mount.
    in_list = [option.name + ("=" if option.values else "") for option in options
               if option.group != "Verbs" and option.name not in ("help", "help-all", "version")]
    return Program("vmdkfuse", [Command("", "", options, "image")], in_list + mount_words(path))


def control(path):
    commands = [Command(verb.name, verb.purpose, verb.options,
                        "mountpoint" if verb.operands.startswith("MOUNTPOINT") else "image")
                for verb in verbs_of(path)]
    return Program("vmdkctl", commands, [])
