"""Prints the functions in which executed lines of text lie: names.py SYMBOLS LINES"""

import bisect
import sys

symbols = []
for line in open(sys.argv[1]):
    address, _, name = line.split()
    symbols.append((int(address, 16), name))
addresses = [address for address, _ in symbols]
printed = set()
for line in open(sys.argv[2]):
    first = int(line, 16)
    # A line of 16 bytes may hold the end of one function and the start of the next.
    for address in (first, first + 15):
        name = symbols[bisect.bisect_right(addresses, address) - 1][1]
        if name not in printed:
            printed.add(name)
            print(name)
