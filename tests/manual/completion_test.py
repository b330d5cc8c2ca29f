#!/usr/bin/env python3
"""The completions work: a shell is asked what it would offer.

Usage: completion_test.py COMPLETIONS bash|zsh|fish; 77 says that the shell is not installed.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

COMPLETIONS = pathlib.Path(sys.argv[1]).resolve()
SHELL = sys.argv[2]
HOLDER = tempfile.TemporaryDirectory()

FILES = ["vm.vmdk", "vm-flat.vmdk", "vm-s001.vmdk", "vm-000001.vmdk", "vm-000001-delta.vmdk", "Big Disk.VMDK",
         "app.ova", "notes.txt"]
IMAGES = {"vm.vmdk", "vm-000001.vmdk", "Big Disk.VMDK", "app.ova"}

# Bash gives a completion function its words, which it cuts at "=" too.
BASH = """
source "$1"
cut=${2//=/ = }
read -ra COMP_WORDS <<<"$cut"
[[ $2 == *[' ='] ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_$3
printf '%s\\n' "${COMPREPLY[@]}"
"""

# Zsh completes only at a prompt: this one is typed into, behind a pseudo-terminal, and each offer is
# printed where it would have been shown.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
line=$2
typed() { zpty -w shell "$1"; }
typed "unsetopt zle_bracketed_paste 2>/dev/null; PS1= ; fpath=($1 \\$fpath); autoload -U compinit; compinit -u -d $3"
typed "compadd() { local -a hits"
typed "if [[ \\$argv[(I)-[OAD]] == 0 ]] { builtin compadd -A hits \\"\\$@\\"; print -rl -- 'OFFER '\\$^hits }"
typed "builtin compadd \\"\\$@\\" }"
typed "bindkey '^I' complete-word; zle -C complete-word complete-word _main_complete; stty -echo; print READY''NOW"
zpty -r -m shell all '*READYNOW*'
zpty -n -w shell "$line"$'\\t'
sleep 0.1
zpty -n -w shell $'\\C-u'
typed "print THAT''IS''ALL"
while zpty -r shell answer; do
  [[ $answer == *THATISALL* ]] && break
  print -r -- "$answer"
done
zpty -d shell
"""


def offers_of_bash(line, folder):
    program = line.split()[0]
    answer = subprocess.run(["bash", "-c", BASH, "bash", COMPLETIONS / program, line, program], cwd=folder,
                            check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return set(answer.split("\n")) - {""}


def offers_of_fish(line, folder):
    program = line.split()[0]
    ask = f"set -p fish_complete_path {COMPLETIONS}; complete -C {chr(39)}{line}{chr(39)}"
    environment = dict(os.environ, HOME=str(folder), XDG_CONFIG_HOME=str(folder / "config"))
    answer = subprocess.run(["fish", "--no-config", "-c", f"source {COMPLETIONS}/{program}.fish; {ask}"],
                            cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment).stdout
    return {offer.split("\t")[0] for offer in answer.split("\n")} - {""}


def offers_of_zsh(line, folder):
    # What zsh found out about all completions, which takes long, is kept from line to line.
    found = pathlib.Path(HOLDER.name) / "found"
    answer = subprocess.run(["zsh", "-f", "-c", ZSH, "zsh", COMPLETIONS, line, found], cwd=folder, check=True,
                            stdout=subprocess.PIPE, encoding="utf-8", timeout=30).stdout
    return {offer.strip().split("OFFER ")[1] for offer in answer.splitlines() if "OFFER " in offer}


def offers(line, folder):
    found = {"bash": offers_of_bash, "fish": offers_of_fish, "zsh": offers_of_zsh}[SHELL](line, folder)
    # What stands before "=" and how a space is escaped is the shell's affair.
    return {offer.replace("\\", "").rpartition("=")[2] if not offer.endswith("=") else offer.rstrip("=")
            for offer in found}


class CompletionTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = pathlib.Path(self.holder.name)
        for name in FILES:
            (self.folder / name).touch()

    def offers(self, line):
        return offers(line, self.folder)

    def test_images_are_offered_and_their_extents_are_not(self):
        for line in ("vmdkfuse ", "vmdkfuse --ro ", "vmdkctl info ", "vmdkctl check "):
            with self.subTest(line):
                self.assertEqual(self.offers(line) & set(FILES), IMAGES)

    def test_the_mountpoint_is_any_file(self):
        self.assertIn("notes.txt", self.offers("vmdkfuse vm.vmdk "))

    def test_options_are_offered(self):
        self.assertLessEqual({"--overlay"}, self.offers("vmdkfuse --ov"))
        self.assertLessEqual({"--repair"}, self.offers("vmdkctl check --rep"))
        self.assertEqual(self.offers("vmdkctl info --rep"), set())

    def test_verbs_are_offered(self):
        self.assertLessEqual({"compare", "convert"}, self.offers("vmdkctl co"))

    def test_values_are_offered(self):
        self.assertEqual(self.offers("vmdkfuse --cache=w"), {"writeback", "writethrough"})
        self.assertEqual(self.offers("vmdkctl create --adapter=l"), {"lsilogic", "legacyESX"})
        self.assertEqual(self.offers("vmdkctl check --repair=t"), {"tables"})
        self.assertEqual(self.offers("vmdkfuse --commit="), set())

    def test_images_are_offered_as_values(self):
        self.assertEqual(self.offers("vmdkfuse --parent=vm") & set(FILES), {"vm.vmdk", "vm-000001.vmdk"})

    def test_list_of_o_is_completed_behind_its_commas(self):
        self.assertTrue(any(offer.endswith("allow_other") for offer in self.offers("vmdkfuse -o ro,allow_ot")))


if __name__ == "__main__":
    if shutil.which(SHELL) is None:
        print(f"{SHELL} is not installed")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
