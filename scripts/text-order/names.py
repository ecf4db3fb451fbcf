"""Prints the functions in which executed addresses lie: names.py SYMBOLS ADDRESSES...

SYMBOLS is what `nm` prints, sorted; each file of ADDRESSES has one number in
hexadecimal a line. What separates one build's names from the next's becomes a
`*`: hashes of crates, references back into the name (they count the letters of
hashes), the crate that an instance was made for and the number LLVM gave it.
"""

import bisect
import re
import sys


def pattern(name):
    if not name.startswith("_R"):
        return name
    name = re.sub(r"(\.llvm)?\.\d+$", "*", name)
    name = re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", name)
    name = re.sub(r"B[0-9A-Za-z]*_", "B*_", name)
    made_for = re.search(r"Cs\*_(\d+)(\w+)\**$", name)
    if made_for and len(made_for[2]) == int(made_for[1]):
        name = name[: made_for.start()] + "*"
    return name


addresses, names = [], []
for line in open(sys.argv[1]):
    fields = line.split()
    if len(fields) == 3 and fields[1] in "tTwW":
        addresses.append(int(fields[0], 16))
        names.append(fields[2])
printed = set()
for recorded in sys.argv[2:]:
    for line in open(recorded):
        name = pattern(names[bisect.bisect_right(addresses, int(line, 16)) - 1])
        if name not in printed:
            printed.add(name)
            print(name)
