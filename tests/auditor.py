#!/usr/bin/env python3
"""A second reader of certificates and logs, and a witness, written from SPEC.md and the C2SP texts alone. Needs `cryptography`.

    auditor.py certificate CERT KEY     checks a certificate with the log's verifier key; prints its grade
    auditor.py log DIR KEY              checks a log that lies in files, leaf by leaf
    auditor.py witness NAME SEED KEY    a witness (C2SP tlog-witness) for the log with this key; prints its own key and its address
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import struct
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNS, COSIGNS = 1, 4


class Refused(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Refused(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    check(base64.b64encode(data).decode() == text, "base64 that could be written otherwise")
    return data


# C2SP signed-note

def key_id(name, kind, key):
    return sha256(name.encode(), b"\n", bytes([kind]), key)[:4]


def verifier_key(text):
    name, id, key = text.strip().split("+", 2)
    key = unbase64(key)
    check(key_id(name, key[0], key[1:]).hex() == id, "the key's id is not that of the key")
    return name, key[0], key[1:]


def rows(text):
    """Its lines, each ended by a line feed and nothing else."""
    return text.removesuffix("\n").split("\n")


def split_note(note):
    at = note.rindex("\n\n")
    lines = rows(note[at + 2:])
    check(note.endswith("\n") and all(line.startswith("\u2014 ") for line in lines), "a line that is no signature")
    signatures = [(name, unbase64(signature)) for name, signature in (line[2:].split(" ") for line in lines)]
    check(all(name and len(signature) > 4 for name, signature in signatures), "a line that is no signature")
    return note[:at + 1], signatures


def signed_by(note, name, kind, key):
    text, lines = split_note(note)
    own = [signature for who, signature in lines if who == name and signature[:4] == key_id(name, kind, key)]
    check(len(own) == 1, "%s did not sign, or signed twice" % name)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(own[0][4:], text.encode())
    except InvalidSignature:
        raise Refused("a signature does not hold")
    return text


# RFC 9162, 2.1

def leaf_hash(leaf):
    return sha256(b"\0", leaf)


def node_hash(left, right):
    return sha256(b"\1", left, right)


def tree_hash(hashes):
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(tree_hash(hashes[:k]), tree_hash(hashes[k:]))


def check_inclusion(found, index, size, path, root):
    check(index < size, "a leaf beyond the tree")
    at, last = index, size - 1
    for step in path:
        check(last > 0, "a path that is too long")
        if at & 1 or at == last:
            found = node_hash(step, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    check(last == 0 and found == root, "the path leads elsewhere")


def check_consistency(old, old_root, new, new_root, proof):
    if old == 0 or old == new:
        check(not proof and (old == 0 or old_root == new_root), "two roots of one size")
        return
    check(old < new, "the log shrank")
    at, last, steps = old - 1, new - 1, list(proof)
    while at & 1:
        at, last = at >> 1, last >> 1
    first = old_root if at == 0 else steps.pop(0)
    from_old = from_new = first
    for step in steps:
        check(last > 0, "a proof that is too long")
        if at & 1 or at == last:
            from_old, from_new = node_hash(step, from_old), node_hash(step, from_new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            from_new = node_hash(from_new, step)
        at, last = at >> 1, last >> 1
    check(last == 0 and from_old == old_root and from_new == new_root, "the log does not go on from what it was")


def checkpoint(note, key):
    name, kind, public = key
    check(kind == SIGNS, "a log's key signs notes")
    origin, size, root = rows(signed_by(note, name, kind, public))[:3]
    check(origin == name and str(int(size)) == size, "a checkpoint of another log")
    return int(size), unbase64(root)


# SPEC.md 13 and 14

LEAF = re.compile(r"keyfall/erase@v1\ncommit (\d+)\nepoch (\d+)\ntime (\S+)\nerases (\d+) (\S+)\ndestroys (\S+)\n"
                  r"(?:next ([0-9a-f]{32}) (\S+)|until (\S+))\ncell (\S+)\nsigner (\S+)\n")


def leaf_of(lines):
    text = "".join(line + "\n" for line in lines)
    fields = LEAF.fullmatch(text)
    check(fields, "no leaf")
    names = ("commit", "epoch", "time", "slots", "erases", "destroys", "attempt", "next", "until", "cell", "signer")
    return text.encode(), dict(zip(names, fields.groups()))


def proof_of(text, leaf, key):
    check(text.startswith("c2sp.org/tlog-proof@v1\nindex "), "no proof")
    head, note = text.split("\n\n", 1)
    index, *path = rows(head)[1:]
    size, root = checkpoint(note, key)
    index = int(index[len("index "):])
    check_inclusion(leaf_hash(leaf), index, size, [unbase64(step) for step in path], root)
    return index, note


HIDDEN = re.compile("[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")


def written(value, **how):
    """JSON in which what cannot be seen is escaped."""
    def escape(found):
        units = found[0].encode("utf-16-be")
        return "".join("\\u%04x" % unit for unit in struct.unpack(">%dH" % (len(units) // 2), units))
    return HIDDEN.sub(escape, json.dumps(value, ensure_ascii=False, **how))


def compact(value):
    return written(value, separators=(",", ":")).encode()


def statements(facts, leaf):
    """Whether enough keyholders signed, of those that were dealt shares of each root key."""
    cell, seen, epoch = facts["body"]["cell"], {}, int(leaf["epoch"]) + 1
    for said in facts["outcome"]["retired"]["stated"]:
        check(said["keyholder"] not in seen, "a statement twice")
        behind = said["epoch"] > epoch or said["epoch"] == epoch and said["attempt"] == leaf["attempt"]
        counts = behind and said["keyholder"] in cell["keyholders"]["keys"]
        for earlier in cell["earlier"]:
            counts = counts or said["epoch"] > earlier["epoch"] and said["keyholder"] in earlier["keyholders"]["keys"]
        check(counts, "a statement by nobody, or of another epoch")
        seen[said["keyholder"]] = (said["epoch"], behind)
        text = "keyfall/retirement@v1\nstore %s\nkeeps-only epoch %d attempt %s\ntime %d\n" % (
            facts["body"]["store"], said["epoch"], said["attempt"], said["time"])
        try:
            Ed25519PublicKey.from_public_bytes(unbase64(said["keyholder"])).verify(unbase64(said["signature"]), text.encode())
        except InvalidSignature:
            raise Refused("a keyholder's signature does not hold")

    def enough(holders, counts):
        n = sum(1 for key in holders["keys"] if key in seen and counts(*seen[key]))
        return n >= len(holders["keys"]) - holders["threshold"] + 1 + holders["liars"]

    check(all(earlier["epoch"] < int(leaf["epoch"]) for earlier in cell["earlier"]), "an earlier epoch that is none")
    return enough(cell["keyholders"], lambda _, behind: behind) and all(
        enough(earlier["keyholders"], lambda said, _, of=earlier["epoch"]: said > of) for earlier in cell["earlier"])


def certificate(text, key):
    parts = text.split("\n\nc2sp.org/tlog-proof@v1\n")
    note, proofs = parts[0] + "\n", ["c2sp.org/tlog-proof@v1\n" + part for part in parts[1:]]
    proofs = [proof + "\n" for proof in proofs[:-1]] + proofs[-1:]
    signed, _ = split_note(note)
    head, machine = signed.split("\n\nkeyfall/certificate@v1\n")
    facts = json.loads(machine)
    check(written(facts, indent=2) + "\n" == machine, "JSON that could be written otherwise")
    check(not HIDDEN.search(head), "words that cannot be seen")
    body, slot = facts["body"], facts["slot"]
    leaf_text, leaf = leaf_of(facts["leaf"])
    signed_by(note, key[0], SIGNS, unbase64(leaf["signer"]))
    commitment = sha256(b"keyfall/erasure@v1\0", unbase64(facts["opening"]), compact(body))
    path = [unbase64(step) for step in slot["path"]]
    check(str(slot["of"]) == leaf["slots"], "another number of slots")
    check_inclusion(leaf_hash(commitment), slot["index"], slot["of"], path, unbase64(leaf["erases"]))
    same = (str(body["commit"]), str(body["epoch"]), body["destroyed"][0]["commitment"], body["pending_until"])
    check(same == (leaf["commit"], leaf["epoch"], leaf["destroys"], leaf["until"]), "another commit than the leaf's")
    check(sha256(compact(body["cell"])) == unbase64(leaf["cell"]), "another cell than the leaf's")
    index, note = proof_of(proofs[0], leaf_text, key)
    ended = leaf
    if facts["final_leaf"] is not None:
        text, ended = leaf_of(facts["final_leaf"])
        later, other = proof_of(proofs[1], text, key)
        check(later > index and split_note(other)[0] == split_note(note)[0], "the final leaf is not behind its own")
        check((ended["epoch"], ended["destroys"]) == (leaf["epoch"], leaf["destroys"]) and leaf["until"], "of another epoch")
    check(len(proofs) == (1 if ended is leaf else 2), "a proof without its leaf")
    retired, cell = facts["outcome"]["retired"], body["cell"]
    if ended["until"]:
        check(retired == "waiting", "it waits, and is said to have ended")
        grade = "PENDING"
    elif retired == "waiting":
        grade = "PENDING"
    elif cell["keyholders"]:
        grade = "FINAL" if statements(facts, ended) else "PENDING"
    else:
        check(retired == "destroyed" or "scheduled" in retired, "an end that the cell does not know")
        grade = "FINAL" if retired == "destroyed" else "PENDING"
    check(cell["kind"] not in ("file", "memory") or cell["level"] == "L0", "a level that the cell has not")
    limited = (cell["remnants"] or cell["kind"] == "memory" or body["openings"] != 0 or body["grants"] or body["records"] is None
               or body["following"])
    if grade == "FINAL" and limited:
        grade = "LIMITED"
    check(cell["keyholders"] or not cell["earlier"], "a cell without keyholders had some")
    check([line for line in rows(head) if line.startswith("Grade:")] == ["Grade: " + grade], "the words above say another grade")
    return grade


# C2SP tlog-tiles

def numbered(n, width):
    path = "%03d" % (n % 1000)
    while n >= 1000:
        n //= 1000
        path = "x%03d/%s" % (n % 1000, path)
    return path if width == 256 else "%s.p/%d" % (path, width)


def read(directory, path):
    with open(os.path.join(directory, path), "rb") as f:
        return f.read()


def log(directory, key):
    size, root = checkpoint(read(directory, "checkpoint").decode(), key)
    level, hashes = 0, []
    for n in range(-(-size // 256)):
        width = min(256, size - 256 * n)
        data, at, count = read(directory, "tile/entries/" + numbered(n, width)), 0, 0
        while at < len(data):
            length = struct.unpack(">H", data[at:at + 2])[0]
            hashes.append(leaf_hash(data[at + 2:at + 2 + length]))
            at, count = at + 2 + length, count + 1
        check(at == len(data) and count == width, "a bundle that is cut short")
    check(tree_hash(hashes) == root, "the leaves do not give the root")
    while hashes:
        for n in range(-(-len(hashes) // 256)):
            row = hashes[256 * n:256 * n + 256]
            check(read(directory, "tile/%d/%s" % (level, numbered(n, len(row)))) == b"".join(row), "a tile of other hashes")
        hashes = [tree_hash(hashes[n:n + 256]) for n in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
    return size


# C2SP tlog-witness and tlog-cosignature

class Witness(http.server.BaseHTTPRequestHandler):
    seen = (0, b"")

    def answer(self, status, text=""):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != "/add-checkpoint":
            return self.answer(404)
        try:
            head, note = body.split("\n\n", 1)
            old, *proof = rows(head)
            old = int(old[len("old "):])
            try:
                size, root = checkpoint(note, self.server.log)
            except Refused:
                return self.answer(403)
            if old > size:
                return self.answer(400)
            if old != Witness.seen[0]:
                return self.answer(409, "%d\n" % Witness.seen[0])
            if size == Witness.seen[0] and root != Witness.seen[1] and size > 0:
                return self.answer(409, "%d\n" % size)
            try:
                check_consistency(old, Witness.seen[1], size, root, [unbase64(step) for step in proof])
            except Refused:
                return self.answer(422)
        except (ValueError, IndexError):
            return self.answer(400)
        Witness.seen = (size, root)
        now = int(time.time())
        text = split_note(note)[0]
        signature = self.server.key.sign(("cosignature/v1\ntime %d\n%s" % (now, text)).encode())
        line = key_id(self.server.name, COSIGNS, public(self.server.key)) + struct.pack(">Q", now) + signature
        self.answer(200, "\u2014 %s %s\n" % (self.server.name, base64.b64encode(line).decode()))

    def log_message(self, *_):
        pass


def public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def witness(name, seed, key):
    server = http.server.HTTPServer(("127.0.0.1", 0), Witness)
    server.log, server.name, server.key = key, name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    own = bytes([COSIGNS]) + public(server.key)
    print("%s+%s+%s" % (name, key_id(name, COSIGNS, own[1:]).hex(), base64.b64encode(own).decode()))
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "certificate":
        with open(sys.argv[2], encoding="utf-8", newline="") as f:
            print(certificate(f.read(), verifier_key(sys.argv[3])))
    elif len(sys.argv) == 4 and sys.argv[1] == "log":
        print(log(sys.argv[2], verifier_key(sys.argv[3])), "leaves")
    elif len(sys.argv) == 5 and sys.argv[1] == "witness":
        witness(sys.argv[2], sys.argv[3], verifier_key(sys.argv[4]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Refused as e:
        sys.exit("refused: %s" % e)
