"""Says what became of each operation, by the counts of hooks.py, and fails if one never succeeded."""
import json
import sys

# What only a device or a grantee can make: the tests of the service have them.
SEALED = {"POST /v1/inbox", "POST /v1/requests"}

with open(sys.argv[1], encoding="ascii") as file:
    counts = json.load(file)
never, shares = [], []
for name, of in sorted(counts.items()):
    done = sum(n for status, n in of.items() if status[0] in "23")
    shares.append(done / sum(of.values()))
    print(f"{name}: {shares[-1]:.0%} of {sum(of.values())} succeeded, {of}")
    if not done and name not in SEALED:
        never.append(name)
mostly = sum(share >= 0.5 for share in shares)
print(f"{len(shares)} operations, of which {mostly} mostly succeeded")
if never or len(shares) < 50:
    sys.exit(f"never seen to succeed: {never}")
