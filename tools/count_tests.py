#!/usr/bin/env python3
"""Turns the logs of one `meson test` into lines "verdict<TAB>name<TAB>reason".

A GoogleTest binary counts with each of its cases. What the cases do not show - a crash, a time-out,
a leak found at the end - counts as one failure more. What cases say of themselves in numbers (how
many points or states they judged, how many rounds) follows as lines "figure<TAB>test<TAB>number name";
those of one name are summed up, of a peak the largest counts.
"""

import argparse
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET


def one_line(text):
    return " ".join((text or "").split())


def case_verdict(case):
    for tag in ("failure", "error"):
        found = case.find(tag)
        if found is not None:
            return "failed", one_line(found.get("message") or found.text)
    skipped = case.find("skipped")
    if skipped is not None:
        return "skipped", one_line(skipped.get("message") or skipped.text) or "no reason given"
    if case.get("status") == "notrun":
        return "skipped", "disabled"
    return "passed", ""


def cases_of(test_name, junit):
    """The GoogleTest cases of one test, which the log files under "project.test.suite"."""
    prefix = f"{test_name.split(':')[0]}.{test_name}."
    for suite in junit.iter("testsuite"):
        if suite.get("name", "").startswith(prefix):
            for case in suite.iter("testcase"):
                yield f"{case.get('classname')}.{case.get('name')}", *case_verdict(case)


def figures_of(test_name, junit, output):
    """What the GoogleTest cases of one test recorded as properties that are numbers; of a program
    of another kind, what it says in its output as "# N operations in N sequences"."""
    prefix = f"{test_name.split(':')[0]}.{test_name}."
    sums = {}
    for suite in junit.iter("testsuite"):
        if not suite.get("name", "").startswith(prefix):
            continue
        for item in suite.iter("property"):
            name, value = item.get("name", ""), item.get("value", "")
            if not value.isdigit():
                continue
            both = sums.get(name, 0), int(value)
            sums[name] = max(both) if name.startswith(("peak", "most")) else sum(both)
    for line in re.findall(r"^# (\d+ \w+) in (\d+ \w+)", output, re.MULTILINE):
        sums.update((name, int(number)) for number, name in map(str.split, line))
    return sums


def last_words(test):
    """What a failed program said last: a report may have no room for the whole log."""
    said = (test.get("stderr") or test.get("stdout") or "").split("\n")
    return "".join(f": {one_line(line)}" for line in [line for line in said if line.strip()][-3:])


def count(build, logs):
    """Yields (verdict, name, reason) for every test of the run."""
    junit = ET.parse(logs / "testlog.junit.xml").getroot()
    with open(logs / "testlog.json", encoding="utf-8") as lines:
        tests = [json.loads(line) for line in lines]
    for test in tests:
        name = f"{build}.{test['name'].split(' / ')[-1]}"
        failed = False
        cases = list(cases_of(test["name"], junit))
        for case, verdict, reason in cases:
            failed = failed or verdict == "failed"
            yield verdict, f"{name}.{case}", reason
        ended = f"{test['result']}, exit status {test['returncode']}{last_words(test)}"
        if test["result"] == "SKIP":
            yield "skipped", name, one_line(test.get("stdout", "")) or "no reason given"
        elif test["result"] != "OK" and not failed:
            yield "failed", name, ended
        elif test["result"] == "OK" and not cases:
            yield "passed", name, ""
        for figure, number in sorted(figures_of(test["name"], junit, test.get("stdout", "")).items()):
            yield "figure", name, f"{number:,} {figure.replace('_', ' ')}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the build, put before the tests' names")
    parser.add_argument("--status", required=True, type=int, help="exit status of `meson test`")
    parser.add_argument("logs", type=pathlib.Path, help="the build's meson-logs")
    arguments = parser.parse_args()

    results = []
    if (arguments.logs / "testlog.json").exists():
        results = list(count(arguments.name, arguments.logs))
    if arguments.status != 0 and not any(verdict == "failed" for verdict, _, _ in results):
        results.append(("failed", f"{arguments.name}.build",
                        f"`meson test` ended with status {arguments.status}"))
    for result in results:
        sys.stdout.write("\t".join(result) + "\n")


if __name__ == "__main__":
    main()
