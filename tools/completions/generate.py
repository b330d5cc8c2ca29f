#!/usr/bin/env python3
"""Writes the completions of vmdkfuse and vmdkctl for bash, zsh and fish, from the programs' helps."""

import argparse
import pathlib

import command_model
import for_bash
import for_fish
import for_zsh


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vmdkfuse")
    parser.add_argument("vmdkctl")
    parser.add_argument("folder", type=pathlib.Path, help="where the six files go")
    arguments = parser.parse_args()

    for program in (command_model.mounter(arguments.vmdkfuse), command_model.control(arguments.vmdkctl)):
        for file, shell in ((program.name, for_bash), (f"_{program.name}", for_zsh),
                            (f"{program.name}.fish", for_fish)):
            (arguments.folder / file).write_text(shell.render(program), encoding="utf-8")


if __name__ == "__main__":
    main()
