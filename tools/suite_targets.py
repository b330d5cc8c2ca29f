#!/usr/bin/env python3
"""Prints what ninja has to build for the tests of some suites, one target a line.

`meson test` would build everything, of which a sanitizer's build folder needs only a part.
"""

import argparse
import json
import os
import subprocess


def introspect(build, what):
    answer = subprocess.run(["meson", "introspect", build, f"--{what}"], check=True,
                            stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout)


def wanted(test, only, without):
    suites = {suite.partition(":")[2] for suite in test["suite"]}
    return not suites & set(without) and (not only or bool(suites & set(only)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--no-suite", action="append", default=[])
    arguments = parser.parse_args()
    needed = {target for test in introspect(arguments.build, "tests")
              if wanted(test, arguments.suite, arguments.no_suite) for target in test["depends"]}
    for target in introspect(arguments.build, "targets"):
        if target["id"] in needed:
            print(os.path.relpath(target["filename"][0], arguments.build))


if __name__ == "__main__":
    main()
