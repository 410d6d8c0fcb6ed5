#!/usr/bin/env python3
"""Judges a trace file by the rules of Chrome's trace event format that Perfetto needs.

usage: check_trace.py FILE [WRITER [ARGUMENT...]]     (WRITER ARGUMENT... FILE is run first if given)
"""
import json
import subprocess
import sys


def check(path):
    with open(path, encoding="utf-8") as file:
        root = json.load(file)
    events = root["traceEvents"]
    names, counts = {}, {"X": 0, "C": 0, "M": 0}
    for event in events:
        phase = event["ph"]
        counts[phase] += 1                                  # any other phase is a KeyError
        assert isinstance(event["name"], str) and event["name"], event
        assert isinstance(event["pid"], int) and event["pid"] > 0, event
        assert isinstance(event["tid"], int), event
        if phase == "M":
            if event["name"] == "thread_name":
                names[event["pid"], event["tid"]] = event["args"]["name"]
            continue
        assert event["tid"] > 0, event
        assert isinstance(event["ts"], (int, float)) and event["ts"] >= 0, event
        if phase == "X":
            assert isinstance(event["dur"], (int, float)) and event["dur"] >= 0, event
            assert isinstance(event["cat"], str), event
        else:
            assert all(isinstance(value, (int, float)) for value in event["args"].values()), event
    lanes = {(event["pid"], event["tid"]) for event in events if event["ph"] != "M"}
    assert lanes <= set(names), "a lane without a name"
    assert len({(pid, name) for (pid, _), name in names.items()}) == len(names), "two lanes with one name"
    assert any(event["name"] == "process_name" for event in events if event["ph"] == "M")
    return counts


if __name__ == "__main__":
    if len(sys.argv) > 2:
        subprocess.run(sys.argv[2:] + [sys.argv[1]], check=True)
    counts = check(sys.argv[1])
    assert counts["X"] > 0, "no spans"
    print(f"{counts['X']} spans, {counts['C']} counter values, {counts['M']} names")
