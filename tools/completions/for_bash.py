"""Completion for bash."""

from command_model import EXTENT_ENDINGS, OUR_MOUNTS, kind_of

HEAD = """\
# Completion of {name} for bash, made from the program's help.

_{name}_words() {{
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
  if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]]; then
    compopt -o nospace 2>/dev/null
  fi
}}

_{name}_files() {{
  mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
  compopt -o filenames 2>/dev/null
}}

# Images and folders, not the extents of images; where there is none, every file.
_{name}_images() {{
  local file
  local -a files
  mapfile -t files < <(compgen -f -- "$1")
  _{name}_files -d "$1"
  for file in "${{files[@]}}"; do
    case ${{file,,}} in
      {extents}) ;;
      *.vmdk | *.ova) COMPREPLY+=("$file") ;;
    esac
  done
  [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=("${{files[@]}}")
}}

_{name}_mounts() {{
  local target
  COMPREPLY=()
  while read -r target; do
    printf -v target '%b' "$target"
    [[ $target == "$1"* ]] && COMPREPLY+=("$target")
  done < <({mounts} 2>/dev/null)
  compopt -o filenames 2>/dev/null
}}
"""

BODY = """
_{name}() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  local verb={verb} option=$before operands=0 i
  COMPREPLY=()
  # Bash takes "=" for a word of its own.
  if [[ $word == '=' ]]; then
    option="=$before" word=''
  elif [[ $before == '=' ]]; then
    option="=${{COMP_WORDS[COMP_CWORD - 2]}}"
  fi
  for ((i = {first}; i < COMP_CWORD; i++)); do
    case $verb:${{COMP_WORDS[i]}} in
      *:=) ((i++)) ;;
{counted}      *:-*) ;;
      *) ((operands++)) ;;
    esac
  done
"""

TAIL = """\
  esac
}}

complete -F _{name} {name}
"""


def patterns(command, option):
    """How a value of the option is recognised: behind "=", and, unless it is optional, as a word."""
    names = [f"--{option.name}"] + ([f"-{option.letter}"] if option.letter else [])
    both = [f"={name}" for name in names] + ([] if option.value_optional else names)
    return " | ".join(f"{command.verb}:{name}" for name in both)


def action(name, option):
    kind = kind_of(option)
    if kind == "image":
        return f'_{name}_images "$word"'
    if kind:
        return f'_{name}_files {"-d" if kind == "dir" else "-f"} "$word"'
    if option.choices:
        return f"_{name}_words '{' '.join(option.choices)}' \"$word\""
    return ""


def value_cases(program):
    lines = []
    for command in program.commands:
        for option in command.options:
            if option.values:
                what = action(program.name, option)
                lines.append(f"    {patterns(command, option)}) {what + ' ' if what else ''};;")
    return lines


def list_case(program):
    words = " ".join(program.list_words)
    return ["    :-o)", "      local done=''", '      [[ $word == *,* ]] && done=${word%,*},',
            f"      _{program.name}_words '{words}' \"${{word##*,}}\"",
            '      COMPREPLY=("${COMPREPLY[@]/#/$done}")',
            "      compopt -o nospace 2>/dev/null", "      ;;"]


def option_case(program, command):
    words = []
    for option in command.options:
        words += [f"-{option.letter}"] if option.letter else []
        takes = option.values and not option.value_optional
        words.append(f"--{option.name}" + ("=" if takes else ""))
        words += [f"--{option.name}="] if option.value_optional else []
    words += ["-o"] if program.list_words else []
    return f"    {command.verb}:*:-*) _{program.name}_words '{' '.join(words)}' \"$word\" ;;"


def operand_cases(program):
    if program.commands[0].verb:
        verbs = " ".join(command.verb for command in program.commands)
        lines = [f"    :*:-*) _{program.name}_words '--help --version' \"$word\" ;;",
                 f"    :*) _{program.name}_words '{verbs}' \"$word\" ;;"]
        lines += [f'    {command.verb}:*) _{program.name}_mounts "$word" ;;'
                  for command in program.commands if command.operand == "mountpoint"]
        return lines + [f'    *) _{program.name}_images "$word" ;;']
    return ['    *" -u "* | *" --unmount "*) _vmdkfuse_mounts "$word" ;;',
            '    *" --list "*) ;;',
            '    :0:*) _vmdkfuse_images "$word" ;;',
            '    :1:*) _vmdkfuse_files -f "$word" ;;']


def counted_case(program):
    """Options whose value is the next word."""
    lines = []
    for command in program.commands:
        names = [f"{command.verb}:--{option.name}" for option in command.options
                 if option.values and not option.value_optional]
        names += [f"{command.verb}:-{option.letter}" for option in command.options
                  if option.values and option.letter]
        names += [":-o"] if program.list_words else []
        if names:
            joined = " | ".join(names)
            lines.append(f"      {joined}) [[ ${{COMP_WORDS[i + 1]}} == '=' ]] || ((i++)) ;;\n")
    return "".join(lines)


def render(program):
    name = program.name
    has_verbs = bool(program.commands[0].verb)
    extents = " | ".join(f"*-{ending}.vmdk" for ending in EXTENT_ENDINGS)
    text = HEAD.format(name=name, extents=extents, mounts=OUR_MOUNTS)
    verb = "''"
    if has_verbs:
        verb = "''\n  ((COMP_CWORD > 1)) && verb=${COMP_WORDS[1]}\n  local"
    text += BODY.format(name=name, verb=verb, first=2 if has_verbs else 1,
                        counted=counted_case(program))
    lines = ["  case $verb:$option in"] + value_cases(program)
    if program.list_words:
        lines += list_case(program)
    lines.append("    *)")
    lines.append('      case "$verb:$operands:$word ${COMP_WORDS[*]:0:COMP_CWORD} " in')
    lines += ["    " + option_case(program, command) for command in program.commands]
    lines += ["    " + line for line in operand_cases(program)]
    lines += ["      esac", "      ;;"]
    return text + "\n".join(lines) + "\n" + TAIL.format(name=name)
