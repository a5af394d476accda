"""Says what became of each operation of the document, by the counts of hooks.py, and fails if one was
not sent or never succeeded.

    shares.py COUNTS DOCUMENT
"""
import json
import sys

# What only a device or a grantee can make: the tests of the service have them.
SEALED = {"POST /v1/inbox", "POST /v1/requests"}

with open(sys.argv[1], encoding="ascii") as file:
    counts = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    paths = json.load(file)["paths"]
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
described = {f"{method.upper()} {path}" for path, of in paths.items() for method in METHODS & of.keys()}
never, shares = [], []
for name, of in sorted(counts.items()):
    done = sum(n for status, n in of.items() if status[0] in "23")
    shares.append(done / sum(of.values()))
    print(f"{name}: {shares[-1]:.0%} of {sum(of.values())} succeeded, {of}")
    if not done and name not in SEALED:
        never.append(name)
mostly = sum(share >= 0.5 for share in shares)
sent = sum(sum(of.values()) for of in counts.values())
print(f"{len(shares)} of {len(described)} operations, of which {mostly} mostly succeeded; {sent} requests")
if never or counts.keys() != described:
    sys.exit(f"never seen to succeed: {never}; "
             f"not sent: {sorted(described - counts.keys())}; "
             f"not in the document: {sorted(counts.keys() - described)}")
