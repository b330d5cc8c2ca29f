#!/usr/bin/env python3
"""The programs, their helps, the manual, the completions and the README name the same options.

Who adds an option writes a line in the help; each failure here names a place that lacks it.
Usage: agreement_test.py SOURCE_ROOT VMDKFUSE VMDKCTL COMPLETIONS
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import mdoc

ROOT, VMDKFUSE, VMDKCTL, COMPLETIONS = (pathlib.Path(word).resolve() for word in sys.argv[1:5])
sys.path.append(str(ROOT / "tools/completions"))

import program_help  # noqa: E402  (its folder is an argument)

# Options of other programs, in commands that our documents and messages show.
FOREIGN = {"buildtype", "cap-add", "cflags", "device", "dig-holes", "direct-io", "libs", "now",
           "privileged", "rm", "security-opt"}

# Sources of the library that one verb alone runs, and so speak of its options.
SPOKEN_BY = {"check": "check", "commit_child": "commit", "extent_check": "check", "rebase": "rebase",
             "table_choice": "check"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def signatures(option):
    """As the helps and the manual write them."""
    letter = f"-{option.letter}, " if option.letter else ""
    return {letter + signature for signature in option.signature()}


def strings(source):
    """The strings of C++, those that the compiler joins as one."""
    parts = re.compile(r"//[^\n]*|'(?:\\.|[^'\\])'|((?:\"(?:[^\"\\\n]|\\.)*\"\s*)+)")
    for match in parts.finditer(source):
        if match[1]:
            yield "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', match[1]))


class AgreementTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mount = program_help.options_of_mount(VMDKFUSE)
        cls.verbs = program_help.verbs_of(VMDKCTL)
        cls.mount_words = program_help.mount_words(VMDKFUSE)
        cls.names = {option.name for option in cls.mount}
        cls.verb_names = {verb.name: {option.name for option in verb.options} for verb in cls.verbs}

    def same(self, place, found, expected, what="options", least=1):
        """Both ways, with the place in the message."""
        self.assertGreaterEqual(len(expected), least, f"{place}: nothing to compare with")
        lacks, knows = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        with self.subTest(place):
            if lacks:
                self.fail(f"{place} lacks {what} of the help: {' '.join(lacks)}")
        with self.subTest(place):
            if knows:
                self.fail(f"{place} has {what} that no help shows: {' '.join(knows)}")

    def holds(self, place, text, words):
        for word in words:
            with self.subTest(place):
                self.assertRegex(text, rf"(?<![\w-]){re.escape(word)}(?![\w-])", f"{place} lacks {word}")

    # The helps themselves

    def test_the_helps_were_understood(self):
        full = program_help.ask(VMDKFUSE, "--help-all")
        self.same("tools/completions/program_help.py, of vmdkfuse", self.names,
                  re.findall(r"^ {2,6}(?:-\w, )?--([a-z-]+)", full, re.MULTILINE)
                  + re.findall(r"^      --\S+ --([a-z-]+)", full, re.MULTILINE))
        for verb in self.verbs:
            text = program_help.ask(VMDKCTL, verb.name, "--help")
            self.same(f"tools/completions/program_help.py, of vmdkctl {verb.name}",
                      self.verb_names[verb.name],
                      re.findall(r"^ {2,6}(?:-\w, )?--([a-z-]+)", text, re.MULTILINE))
        self.assertIn("allow_other", self.mount_words)

    def test_short_helps_fit_a_terminal(self):
        for words in ([VMDKFUSE, "--help"], [VMDKCTL, "--help"]):
            lines = program_help.ask(*words).splitlines()
            self.assertLessEqual(len(lines), 24, words)
            self.assertLessEqual(max(map(len, lines)), 80, words)

    # The manual

    def test_manual_of_the_mount(self):
        page = mdoc.sections(read("docs/man/vmdkfuse.1"))
        items = {item.signature: item for section in page.values() for item in section.items}
        expected = {signature for option in self.mount for signature in signatures(option)}
        expected.add(re.search(r"^  (-o \S+)", program_help.ask(VMDKFUSE, "--help-all"), re.MULTILINE)[1])
        self.same("docs/man/vmdkfuse.1", items, expected)
        for option in self.mount:
            with self.subTest(option.name):
                text = "".join(items[each].signature + items[each].body
                               for each in signatures(option) if each in items)
                self.holds(f"docs/man/vmdkfuse.1, at --{option.name},", text, option.choices)
        self.holds("docs/man/vmdkfuse.1, at -o,", items["-o OPT[,OPT...]"].body,
                   [word.rstrip("=") for word in self.mount_words])

    def test_manual_of_the_verbs(self):
        page = mdoc.sections(read("docs/man/vmdkctl.1"))
        shared = {item.signature: item for item in page["OPTIONS OF SEVERAL VERBS"].items}
        used = set()
        # A verb may have no option but --help, and then nothing in its synopsis that is read here.
        self.same("docs/man/vmdkctl.1",
                  [name for name, each in page.items() if each.synopsis or self.verb_names.get(name) == {"help"}],
                  self.verb_names, "verbs")
        for verb in self.verbs:
            if verb.name not in page:
                continue
            place = f"docs/man/vmdkctl.1, {verb.name},"
            own = {item.signature: item for item in page[verb.name].items}
            expected = {each for option in verb.options for each in signatures(option)}
            self.same(f"{place} synopsis", [word.replace(" |", ",") for word in page[verb.name].synopsis],
                      expected - {"-h, --help"}, least=len(verb.options) - 1)
            self.same(f"{place} with OPTIONS OF SEVERAL VERBS", (own | shared).keys() & expected | own.keys(),
                      expected)
            used |= expected - own.keys()
            for option in verb.options:
                text = "".join(each + (own | shared)[each].body for each in signatures(option)
                               if each in own | shared)
                self.holds(f"{place} at --{option.name},", text, option.choices)
        self.same("docs/man/vmdkctl.1, OPTIONS OF SEVERAL VERBS,", shared, used & shared.keys() | {"-V, --version"})

    def test_manual_of_the_kinds(self):
        rows = {}
        for line in re.findall(r"^\.It (.* Ta .*)$", read("docs/man/vmdk-formats.7"), re.MULTILINE):
            kind, *answers = line.split(" Ta ")
            if not kind.startswith("Sy"):
                rows[kind] = {what for what, answer in zip(("read", "write", "create"), answers)
                              if answer in ("yes", "convert")}
        table = {}
        for line in read("docs/formats.md").splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) > 3 and cells[1] not in ("kind", "---"):
                table[cells[1]] = set(re.findall(r"read|write|create", cells[2]))
        self.assertGreater(len(rows), 10)
        for kind, answers in rows.items():
            with self.subTest(kind):
                self.assertEqual(answers, table.get(kind), f"docs/man/vmdk-formats.7 and docs/formats.md: {kind}")

    # The README

    def test_readme_lists_all_options(self):
        rows = {}
        for line in read("README.md").splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 4:
                rows[cells[1].strip("`")] = set(re.findall(r"`--([a-z-]+)", cells[2]))
        for group in {option.group for option in self.mount}:
            self.same(f'README.md, row "{group}" of the options,', rows.get(group, ()),
                      {option.name for option in self.mount if option.group == group})
        for verb, options in self.verb_names.items():
            self.same(f'README.md, row "vmdkctl {verb}" of the options,', rows.get(f"vmdkctl {verb}", ()),
                      options - {"help"}, least=len(options) - 1)

    def test_documents_name_only_options_that_exist(self):
        known = self.names.union(*self.verb_names.values()) | FOREIGN
        for place in ["README.md"] + sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/man/*")):
            found = set(re.findall(r"(?<![-\w])--([a-z][a-z-]+)", read(place)))
            with self.subTest(place):
                self.assertEqual(sorted(found - known), [], f"{place} names options that do not exist")

    def test_commands_in_documents_are_right(self):
        checked = 0
        for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*"))]:
            if path.suffix not in (".md", ".1", ".7"):
                continue
            commands = re.findall(r"(?<![\w/-])vmdkctl ([a-z]+)((?: [^\s|`;>)]+)*)",
                                  path.read_text(encoding="utf-8"))
            for verb, rest in commands:
                options = set(re.findall(r"(?<!\S)--([a-z-]+)", rest))
                if verb in self.verb_names:
                    checked += len(options)
                    with self.subTest(path.name):
                        self.assertLessEqual(options, self.verb_names[verb], f"{path}: vmdkctl {verb}{rest}")
                elif options:
                    self.fail(f"{path}: there is no verb {verb}: vmdkctl {verb}{rest}")
        self.assertGreater(checked, 10)

    def test_messages_name_only_options_that_their_program_has(self):
        """A hint names an option of the program that it names, or of the one that prints it."""
        every = set().union({"version"}, *self.verb_names.values())
        found = set()
        for path in sorted([*ROOT.glob("src/**/*.cc"), *ROOT.glob("src/**/*.h"), *ROOT.glob("tools/vmdkctl/*.cc")]):
            if path.stem in ("help", "fuse_device"):  # which speaks of container engines
                continue
            own = (self.verb_names.get(path.stem, every) if path.parent.name == "vmdkctl" else
                   self.names | self.verb_names.get(SPOKEN_BY.get(path.stem), set()))
            for text in strings(path.read_text(encoding="utf-8")):
                known = own
                for verb, mount, end, option in re.findall(
                        r"vmdkctl ([a-z]+)|\b(vmdkfuse)\b|([;:(]|, )|(?<![\w-])--([a-z][a-z-]+)", text):
                    if verb or mount:
                        known = self.verb_names.get(verb, every) if verb else self.names
                    elif end:
                        known = own
                    else:
                        found.add(option)
                        with self.subTest(path.name):
                            self.assertIn(option, known | FOREIGN, f"{path}: {text}")
        self.assertGreater(len(found), 30, "messages were understood")

    def test_speeds_are_those_that_were_measured(self):
        measured = set(re.findall(r"[\d,]+\.?\d*", read("docs/benchmarks.md")))
        table = read("README.md").split("## How fast")[1].split("\n\n")[1].splitlines()[2:]
        self.assertGreater(len(table), 3)
        for row in table:
            for cell in row.split("|")[2:-1]:
                figure = cell.strip().removesuffix(" s")
                with self.subTest(row):
                    self.assertTrue(figure == "–" or figure in measured,
                                    f"README.md: {figure} is not in docs/benchmarks.md")

    def test_documents_that_are_pointed_to_exist(self):
        index = read("docs/README.md")
        for path in sorted(ROOT.glob("docs/**/*")):
            if path.suffix in (".md", ".1", ".7", ".cc") and path.name != "README.md":
                with self.subTest(path.name):
                    self.assertIn(f"({path.relative_to(ROOT / 'docs')})", index, "docs/README.md lacks it")
        for place in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)\)", place.read_text(encoding="utf-8")):
                with self.subTest(place.name):
                    self.assertTrue((place.parent / target).exists(), f"{place}: {target}")

    # The completions

    def test_completions_of_the_mount(self):
        self.same("completion of vmdkfuse for bash",
                  re.findall(r"--([a-z-]+)", (COMPLETIONS / "vmdkfuse").read_text().split("case $verb:$option")[1]),
                  self.names)
        self.same("completion of vmdkfuse for zsh",
                  re.findall(r"--([a-z-]+)[=\[}]", (COMPLETIONS / "_vmdkfuse").read_text()), self.names)
        self.same("completion of vmdkfuse for fish",
                  re.findall(r"^complete .* -l ([a-z-]+)", (COMPLETIONS / "vmdkfuse.fish").read_text(),
                             re.MULTILINE), self.names)

    def test_completions_of_the_verbs(self):
        bash, zsh, fish = ((COMPLETIONS / name).read_text() for name in ("vmdkctl", "_vmdkctl", "vmdkctl.fish"))
        for verb, options in self.verb_names.items():
            words = re.search(rf"^ *{verb}:\*:-\*\) \S+ '([^']*)'", bash, re.MULTILINE)[1]
            self.same(f"completion of vmdkctl {verb} for bash", re.findall(r"--([a-z-]+)", words), options)
            part = re.search(rf"^    {verb}\)\n(.*?)^      ;;", zsh, re.MULTILINE | re.DOTALL)[1]
            self.same(f"completion of vmdkctl {verb} for zsh", re.findall(r"--([a-z-]+)[=\[}]", part), options)
            lines = re.findall(rf"seen_subcommand_from {verb}'.* -l ([a-z-]+)", fish)
            self.same(f"completion of vmdkctl {verb} for fish", lines, options)

    # Values that are offered

    def answer(self, words):
        return subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              encoding="utf-8").stderr

    def check_choices(self, what, option, ask):
        refusal = ask("no-such-value")
        self.assertIn('"no-such-value"', refusal, f"{what} --{option.name} takes any value")
        listed = re.search(r"(?:none of|types:|products:|one of|neither) ([\w, -]+?)(?:$|,? and )", refusal,
                           re.MULTILINE)
        if listed:
            words = re.split(r", | nor ", listed[1])
            self.same(f"the choices of {what} --{option.name}", option.choices, words, "values")
        for choice in option.choices:
            self.assertNotIn(f'"{choice}"', ask(choice), f"{what} --{option.name}={choice}")

    def test_what_the_helps_offer_is_taken(self):
        for option in self.mount:
            if option.choices and option.name != "overlay":  # which takes any name
                with self.subTest(option.name):
                    self.check_choices("vmdkfuse", option,
                                       lambda value, name=option.name: self.answer([VMDKFUSE, f"--{name}={value}"]))

    def test_what_the_helps_of_verbs_offer_is_taken(self):
        with tempfile.TemporaryDirectory() as folder:
            disk = f"{folder}/disk.vmdk"
            subprocess.run([VMDKCTL, "create", disk, "1M"], check=True)
            count = 0
            for verb in self.verbs:
                for option in verb.options:
                    if not option.choices:
                        continue

                    def ask(value, verb=verb.name, name=option.name):
                        nonlocal count
                        count += 1
                        new = f"{folder}/new-{count}.vmdk"
                        operands = {"create": [new, "1M"], "compare": [disk, disk], "convert": [disk, new],
                                    "snapshot": [disk, new], "resize": [disk, "1M"],
                                    "rebase": [disk, disk], "bench": [disk]}
                        return self.answer([VMDKCTL, verb, f"--{name}={value}"] + operands.get(verb, [disk]))

                    with self.subTest(verb.name, option=option.name):
                        self.check_choices(f"vmdkctl {verb.name}", option, ask)
            self.assertGreater(count, 20)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
