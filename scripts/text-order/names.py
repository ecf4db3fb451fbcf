"""Prints the functions in which executed addresses lie: names.py SYMBOLS ADDRESSES...

SYMBOLS is what `nm` prints, sorted; each file of ADDRESSES has one number in
hexadecimal a line. What separates one build's names from the next's, the hashes
of crates and of what LLVM renamed, becomes a `*`.
"""

import bisect
import re
import sys

addresses, names = [], []
for line in open(sys.argv[1]):
    fields = line.split()
    if len(fields) == 3 and fields[1] in "tTwW":
        addresses.append(int(fields[0], 16))
        names.append(fields[2])
printed = set()
for recorded in sys.argv[2:]:
    for line in open(recorded):
        name = names[bisect.bisect_right(addresses, int(line, 16)) - 1]
        if name.startswith("_R"):
            name = re.sub(r"\.llvm\.\d+$", "*", name)
            name = re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", name)
        if name not in printed:
            printed.add(name)
            print(name)
