#!/usr/bin/env python3
"""
A second verifier of the KIFF protocol, version 1, offline. It was written from docs/protocol.md and uses Python's standard
library alone (3.9 or later): what it says of the conformance kit's cases shows that the specification is enough.

It reads lines `verify KIND FILE POLICY [RECEIPT ...]` and answers each with `accept` or `reject CHECK,...`.
"""

import sys

import bundles
import custody
import formats
import receipts


def load(path):
    with open(path, "rb") as file:
        return file.read()


def answer(line):
    command, kind, file, policy_path, *paths = line.split(" ")
    if command != "verify":
        return "unknown command"
    policy = None if policy_path == "-" else formats.parse(load(policy_path))
    others = [load(path) for path in paths]
    if kind == "receipt":
        failed, _ = receipts.judge(load(file), policy)
    elif kind == "certificate":
        failed = custody.judge(load(file), policy)
    elif kind == "promise":
        failed = receipts.judge_promise(load(file), policy, others)
    elif kind == "end":
        failed = receipts.judge_end(load(file), policy, others)
    elif kind == "bundle":
        failed = bundles.judge(file, policy)
    else:
        return "unknown kind"
    return "reject " + ",".join(failed) if failed else "accept"


if __name__ == "__main__":
    for request in sys.stdin:
        print(answer(request.rstrip("\n")), flush=True)
