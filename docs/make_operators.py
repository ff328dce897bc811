#!/usr/bin/env python3
"""Writes operators.md, the operators that sigrun has, from the tables in cpp/ops: `python docs/make_operators.py`. With --check it only
says whether the file is what it would write."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
WIDTH = 118
HEADER = """# Operators

Written by `python docs/make_operators.py` from the tables in `cpp/ops`; not to be edited.

An operator that is not here is named, with all others that a model lacks, when the model is loaded. Which types each
takes is said where one is refused: the message names the operator, the tensor, its type and those that are taken.
"""
KINDS = {
    "Builtin operators of TFLite": lambda name, builtin: name in builtin and not name.startswith("STABLEHLO_"),
    "StableHLO": lambda name, builtin: name.startswith("STABLEHLO_"),
    "Operators of TensorFlow (Flex), without TensorFlow": lambda name, builtin: name.startswith("Flex"),
    "Targets of STABLEHLO_CUSTOM_CALL": lambda name, builtin: name.startswith("custom_call."),
    "Custom operators": lambda name, builtin: True,
}
# What the schema numbers but no file holds as an operator: placeholders, what a runtime puts in itself, what sigrun inlines, and calls,
# which are found by their targets.
NOT_OPERATORS = {"CUSTOM", "STABLEHLO_CUSTOM_CALL", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CONCAT_EMBEDDINGS", "CALL"}


def families():
    """The names that each file of cpp/ops defines, and what its comment says of them."""
    for path in sorted((ROOT / "cpp" / "ops").glob("*.cc")):
        text = path.read_text()
        names = re.findall(r'\.name = "([^"]+)"', text)
        comment = re.search(r"((?:^// .*\n)+)namespace sigrun", text, re.M)
        if names and comment is not None:
            yield names, " ".join(line[3:] for line in comment[1].splitlines())


def wrapped(text):
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    return "\n  ".join([*lines, line])


def table():
    schema = (ROOT / "cpp" / "model" / "schema.cc").read_text()
    builtin = set(re.findall(r'"([A-Z0-9_]+)"', schema[schema.index("kBuiltinNames") : schema.index("};")]))
    left = {name: about for names, about in families() for name in names}
    internal = {name for name in left if name == "IDENTITY" or name.startswith("sigrun.")}  # which only passes make
    out = [HEADER]
    total = set(left) - internal
    for kind, belongs in KINDS.items():
        names = {name for name in left if name not in internal and belongs(name, builtin)}
        if not names:
            continue
        out.append(f"## {kind}: {len(names)}\n")
        by_family = {}
        for name in sorted(names):
            by_family.setdefault(left.pop(name), []).append(name)
        for about, members in sorted(by_family.items(), key=lambda item: item[1]):
            out.append(wrapped(f"- {', '.join(f'`{m}`' for m in members)} — {about}") + "\n")
    missing = sorted(builtin - total - NOT_OPERATORS)
    if missing:
        out.append("## Not there\n\n" + wrapped("- " + ", ".join(f"`{m}`" for m in missing)) + "\n")
    return "\n".join(out)


def main():
    path = pathlib.Path(__file__).parent / "operators.md"
    text = table()
    if "--check" in sys.argv[1:]:
        return 0 if path.exists() and path.read_text() == text else f"{path} is not what {__file__} writes: run it"
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
