#!/usr/bin/env python3
"""A second reader of certificates and logs, and a witness, written from SPEC.md and the C2SP texts alone. Needs `cryptography`.

    auditor.py certificate CERT KEY     checks a certificate with the log's verifier key; prints its grade
    auditor.py log DIR KEY              checks a log that lies in files, leaf by leaf
    auditor.py witness NAME SEED KEY    a witness (C2SP tlog-witness) for the log with this key; prints its own key and its address
"""
import base64
import datetime
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


CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f]")
U64 = 1 << 64


def number(text):
    check(re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < U64, "no number")
    return int(text)


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    check(base64.b64encode(data).decode() == text, "base64 that could be written otherwise")
    return data


def sized(text, size):
    data = unbase64(text)
    check(len(data) == size, "another number of bytes")
    return data


# C2SP signed-note

def key_id(name, kind, key):
    return sha256(name.encode(), b"\n", bytes([kind]), key)[:4]


SEPARATES = re.compile("[+\0-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


def is_name(name):
    return 0 < len(name.encode()) <= 255 and not SEPARATES.search(name)


def verifier_key(text):
    name, id, key = text.strip(" \t\n\f\r").split("+", 2)
    key = unbase64(key)
    check(is_name(name) and len(key) == 33, "no key of a log")
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
    check(all(is_name(name) and len(signature) > 4 for name, signature in signatures), "a line that is no signature")
    check(len(signatures) <= 64, "too many signatures")
    check(not CONTROL.search(note), "characters that are not seen")
    return note[:at + 1], signatures


def verify(key, signature, text):
    """Ed25519, strictly: no point of small order, and none that is written otherwise."""
    check(len(signature) == 64 and sound(key) and sound(signature[:32]), "a point of small order")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text.encode())
    except InvalidSignature:
        raise Refused("a signature does not hold")


P = (1 << 255) - 19
Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826


def sound(point):
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    return y < P and y not in (0, 1, P - 1, Y8, P - Y8)


def signed_by(note, name, kind, key):
    text, lines = split_note(note)
    own = [signature for who, signature in lines if who == name and signature[:4] == key_id(name, kind, key)]
    check(len(own) == 1, "%s did not sign, or signed twice" % name)
    verify(key, own[0][4:], text)
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
    lines = rows(signed_by(note, name, kind, public))
    origin, size, root = lines[:3]
    check(origin == name and all(lines), "a checkpoint of another log")
    return number(size), sized(root, 32)


# SPEC.md 13 and 14

LEAF = re.compile(r"keyfall/erase@v1\ncommit (\d+)\nepoch (\d+)\ntime (.+)\nerases (\d+) (\S+)\ndestroys (\S+)\n"
                  r"(?:next ([0-9a-f]{32}) (\S+)|until (.+))\ncell (\S+)\nsigner (\S+)\n", re.ASCII)


def milliseconds(text):
    """A time as 13.3 has it."""
    if text.endswith(" ms"):
        at = number(text[:-3])
        check(at > 253402207200999, "a time that is written otherwise")
        return at
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,2}[1-9]))?Z", text, re.ASCII)
    check(found, "no time")
    *parts, fraction = found.groups()
    at = datetime.datetime(*map(int, parts), tzinfo=datetime.timezone.utc) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    at = at // datetime.timedelta(seconds=1) * 1000 + int((fraction or "").ljust(3, "0"))
    check(0 <= at <= 253402207200999, "a time that is written otherwise")
    return at


def leaf_of(lines):
    text = "".join(line + "\n" for line in lines)
    fields = LEAF.fullmatch(text)
    check(fields and len(text.encode()) <= 440, "no leaf")
    names = ("commit", "epoch", "time", "slots", "erases", "destroys", "attempt", "next", "until", "cell", "signer")
    leaf = dict(zip(names, fields.groups()))
    slots, _, _ = (number(leaf[name]) for name in ("slots", "commit", "epoch"))
    check(slots >= 16 and slots & (slots - 1) == 0, "slots that are no power of two")
    check(milliseconds(leaf["time"]) % 60000 == 0, "a leaf that is not of a minute")
    for name in ("erases", "destroys", "next", "cell", "signer"):
        check(leaf[name] is None or sized(leaf[name], 32), "no hash")
    check(leaf["until"] is None or milliseconds(leaf["until"]) >= 0, "it waits until no time")
    return text.encode(), leaf


def proof_of(text, leaf, key):
    check(text.startswith("c2sp.org/tlog-proof@v1\nindex "), "no proof")
    head, note = text.split("\n\n", 1)
    index, *path = rows(head)[1:]
    check(len(path) <= 63, "a path that is too long")
    size, root = checkpoint(note, key)
    index = number(index[len("index "):])
    check_inclusion(leaf_hash(leaf), index, size, [sized(step, 32) for step in path], root)
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


METHOD = ("cryptographic erase (NIST SP 800-88r2 names it; no conformance is claimed): the data's keys are wrapped by a path of keys "
          "with one at the top, the path was rekeyed, and the old key at the top is sanitized")
ALGORITHMS = "AES-256-GCM with HKDF-SHA-512 (C2SP chunked-encryption); HMAC-SHA-256, HKDF-SHA-256, SHA-256; Ed25519"
VERIFICATION = ("before the old key at the top was given up, the new pages were read back from the store and from every copy in step, and "
                "opened")
LEVELS = {
    "L0": "overwritten by the machine that used it; remnants on its medium, and snapshots of it, are possible",
    "L1": "erased by the device that held it, as far as its maker is right about the device",
    "L2": "destroyed inside a key service, after the delay that it states, as far as its operator is right about its backups",
    "L3": "its shares destroyed by keyholders, gone while fewer than the threshold of them kept theirs, against what they signed",
}
CLOSING = """\
What this does not show: that nobody copied keys or plaintext before; that the operator ran this software
unmodified; that the scope was all there was about somebody. Whoever shows a key that gives one of the commitments
below has shown it false. Not gone with the erase: ciphertext until it is discarded, and what its size and its
time tell; the record ids that others hold; that somebody was erased, to whoever guesses the name.
"""


# 14.2: each of these takes a value that is right, and refuses any other.

def text(most=None, least=0, pattern=None):
    def such(value):
        check(isinstance(value, str), "no text")
        size = len(value.encode())
        check(size >= least and (most is None or size <= most), "a text that is too long or too short")
        check(pattern is None or re.fullmatch(pattern, value, re.ASCII), "a text of another kind")
    return such


def exactly(*values):
    return lambda value: check(isinstance(value, str) and value in values, "another text than belongs there")


def whole(value):
    check(type(value) is int and 0 <= value < U64, "no number")


def flag(value):
    check(isinstance(value, bool), "neither true nor false")


def base64_of(size):
    return lambda value: (text()(value), sized(value, size))


def moment(value):
    text()(value)
    milliseconds(value)


def or_null(of):
    return lambda value: None if value is None else of(value)


def array(of):
    def such(value):
        check(isinstance(value, list), "no array")
        for item in value:
            of(item)
    return such


def fields(**members):
    def such(value):
        check(isinstance(value, dict) and list(value) == list(members), "other members")
        for name, of in members.items():
            of(value[name])
    return such


def counts(value):
    check(isinstance(value, dict) and list(value) == sorted(value), "classes out of order")
    for name, n in value.items():
        CLASS(name)
        whole(n)


CLASS = text(pattern="[a-z][a-z0-9._-]{0,31}")
HEX_16 = text(pattern="[0-9a-f]{32}")
HASH = base64_of(32)
KEYHOLDERS = fields(threshold=whole, liars=whole, keys=array(HASH))
BODY = fields(
    engine=text(), format=lambda value: check(type(value) is int and value == 1, "another format"), store=HEX_16,
    user=or_null(text(512, 1)), scope=text(), requested=moment, authority=text(80), ground=text(255), method=exactly(METHOD),
    algorithms=exactly(ALGORITHMS), verification=exactly(VERIFICATION), epoch=whole, commit=whole, pending_until=or_null(moment),
    destroyed=array(fields(what=text(), commitment=HASH)), records=or_null(counts), derived=whole, following=flag,
    kept=array(fields(**{"class": CLASS, "reason": text(255)})), holds=whole, openings=or_null(whole), grants=or_null(whole),
    copies=fields(in_step=whole, behind=whole),
    cell=fields(kind=text(), level=exactly(*LEVELS), statement=text(), remnants=flag, keyholders=or_null(KEYHOLDERS),
                earlier=array(fields(epoch=whole, keyholders=KEYHOLDERS))))
STATEMENT = fields(keyholder=HASH, epoch=whole, attempt=HEX_16, time=whole, signature=base64_of(64))


def retired(value):
    if isinstance(value, str):
        exactly("waiting", "destroyed")(value)
    elif "scheduled" in value:
        fields(scheduled=moment)(value)
    else:
        fields(stated=array(STATEMENT))(value)


FACTS = fields(
    body=BODY, opening=HASH, slot=fields(index=whole, of=whole, path=array(HASH)), leaf=array(text()),
    outcome=fields(issued=moment, retired=retired, discarded=flag, partly=flag, copies_skipped=whole), final_leaf=or_null(array(text())))


def check_cell(cell, epoch):
    groups = [cell["keyholders"]] * bool(cell["keyholders"]) + [earlier["keyholders"] for earlier in cell["earlier"]]
    for group in groups:
        n, t, f = len(group["keys"]), group["threshold"], group["liars"]
        check(2 <= n <= 32 and 2 <= t <= n and f < t and len(set(group["keys"])) == n, "keyholders that cannot work together")
    check(cell["keyholders"] or not cell["earlier"], "a cell without keyholders had some")
    epochs = [earlier["epoch"] for earlier in cell["earlier"]]
    check(all(one < epoch for one in epochs) and epochs == sorted(epochs, reverse=True), "earlier epochs out of order")
    check((cell["level"] == "L3") == bool(cell["keyholders"]), "a level of another cell")
    check(cell["kind"] not in ("file", "memory") or cell["level"] == "L0", "a level that the cell has not")


def statements(facts, leaf):
    """What is lacking, for each root key of which too few keyholders signed."""
    cell, seen, epoch = facts["body"]["cell"], {}, int(leaf["epoch"]) + 1
    check(epoch < U64, "no epoch can follow its own")
    keys = [(cell["keyholders"], "the old root key", lambda said: said["epoch"] > epoch
             or said["epoch"] == epoch and said["attempt"] == leaf["attempt"])]
    for earlier in cell["earlier"]:
        words = "the root key of epoch %d, which reached it too" % earlier["epoch"]
        keys.append((earlier["keyholders"], words, lambda said, of=earlier["epoch"]: said["epoch"] > of))
    for said in facts["outcome"]["retired"]["stated"]:
        check(said["keyholder"] not in seen, "a statement twice")
        check(any(said["keyholder"] in holders["keys"] and after(said) for holders, _, after in keys), "a statement for nothing")
        seen[said["keyholder"]] = said
        signed = "keyfall/retirement@v1\nstore %s\nkeeps-only epoch %d attempt %s\ntime %d\n" % (
            facts["body"]["store"], said["epoch"], said["attempt"], said["time"])
        verify(unbase64(said["keyholder"]), unbase64(said["signature"]), signed)
    lacking = []
    for holders, words, after in keys:
        n, threshold = len(holders["keys"]), holders["threshold"]
        found, needed = sum(key in seen and after(seen[key]) for key in holders["keys"]), n - threshold + 1 + holders["liars"]
        if found < needed:
            lacking.append("%d of the %d statements that are needed, by %d keyholders, are there: until then %d of them may have "
                           "enough shares of %s" % (found, needed, n, threshold, words))
    return lacking


def pending(facts, ended):
    """Why the old root key is not known to be destroyed."""
    body, said = facts["body"], facts["outcome"]["retired"]
    if ended["until"]:
        check(said == "waiting", "it waits, and is said to have ended")
        return ["the old root key waits for other erases, until %s at the latest: until then who holds the cell and old copies can "
                "read what it names" % body["pending_until"]]
    if said == "waiting":
        return ["the cell has not said yet that the old root key is destroyed: until then who has access to it can read what it names"]
    check(bool(body["cell"]["keyholders"]) == ("stated" in said), "an end that the cell does not know")
    if said == "destroyed":
        return []
    if "scheduled" in said:
        return ["the cell destroys the old root key at %s: until then who has access to it can read what it names" % said["scheduled"]]
    return statements(facts, ended)


def limits(body):
    cell, found = body["cell"], []
    if cell["remnants"]:
        found.append("the owner accepted a medium that is known to keep old bytes: the old root key may be left on it")
    if cell["kind"] == "memory":
        found.append("the root key was in the memory of a process, which may have been written elsewhere")
    if body["openings"] is None:
        found.append("damaged pages hide who had opened records before")
    elif body["openings"] > 0:
        found.append("records of this user had been opened %d times by somebody named, before: what they took with them is out of "
                     "reach" % body["openings"])
    if body["grants"]:
        found.append("%d grants to third parties stood: what they opened before is out of reach" % body["grants"])
    if body["records"] is None:
        found.append("damaged pages kept the records from being counted; none of them can be read")
    if body["following"]:
        found.append("entries (not the content) of records derived from it, by this erase or an earlier one, were still in lists")
    return found


def quoted(value):
    return written(value)


def plain(value):
    return value if re.fullmatch("[A-Za-z0-9._-]+", value, re.ASCII) else quoted(value)


def head_of(facts, grade, reasons):
    """14.3."""
    body, outcome = facts["body"], facts["outcome"]
    cell, came = body["cell"], "The cell said that the key at the top that reached it is destroyed."
    if grade == "PENDING":
        came = "The key at the top that reached it is not known to be destroyed yet."
    elif "stated" in outcome["retired"]:
        came = "As many keyholders as are needed signed that their share of the key at the top that reached it is gone."
    counted = "not counted"
    if body["records"] is not None:
        counted = ", ".join("%d %s" % (n, plain(name)) for name, n in body["records"].items()) or "none was there"
    ciphertext = "not discarded from the store yet, and unreadable"
    if outcome["discarded"]:
        ciphertext = "discarded from the store"
    elif outcome["partly"]:
        ciphertext = "discarded from the store in part, what may be left is unreadable"
    if outcome["copies_skipped"]:
        ciphertext += "; %d copies were passed over" % outcome["copies_skipped"]
    lines = ["Keyfall erasure certificate", "", "Grade: " + grade, "  " + came, "  Level %s: %s" % (cell["level"], LEVELS[cell["level"]])]
    lines += ["  - " + reason for reason in reasons] + ["", "What was erased"]
    lines += ["  User: " + quoted(body["user"])] if body["user"] is not None else []
    lines += ["  Scope: " + quoted(body["scope"]), "  Records: " + counted]
    lines += ["  Derived records that fell with this commit: %d" % body["derived"]]
    lines += ["  Kept: class %s, because %s" % (plain(kept["class"]), quoted(kept["reason"])) for kept in body["kept"]]
    lines += ["  Holds on other records of this user: %d" % body["holds"]] if body["holds"] else []
    lines += ["", "When, for whom, why", "  Asked for: " + body["requested"]]
    lines += ["  By: " + quoted(body["authority"])] if body["authority"] else []
    lines += ["  Ground: " + quoted(body["ground"])] if body["ground"] else []
    lines += ["  Issued: " + outcome["issued"], "", "How", "  Method: " + METHOD, "  Algorithms: " + ALGORITHMS]
    lines += ["  Looked at: " + VERIFICATION, "  Root cell: %s; %s" % (plain(cell["kind"]), quoted(cell["statement"]))]
    lines += ["  Store %s, epoch %d, commit %d; by %s" % (plain(body["store"]), body["epoch"], body["commit"], quoted(body["engine"]))]
    lines += ["  Copies: %d in step, %d behind; for the erased to be gone from them they need nothing" % (
        body["copies"]["in_step"], body["copies"]["behind"]), "  Ciphertext: " + ciphertext, "", CLOSING]
    return "\n".join(lines)


def certificate(content, key):
    check(len(content.encode()) <= 1 << 20, "a file that is too large")
    parts = content.split("\n\nc2sp.org/tlog-proof@v1\n")
    check(len(parts) in (2, 3), "another number of proofs")
    note, proofs = parts[0] + "\n", ["c2sp.org/tlog-proof@v1\n" + part for part in parts[1:]]
    proofs = [proof + "\n" for proof in proofs[:-1]] + proofs[-1:]
    signed, _ = split_note(note)
    head, machine = signed.split("\n\nkeyfall/certificate@v1\n", 1)
    facts = json.loads(machine)
    check(written(facts, indent=2) + "\n" == machine, "JSON that could be written otherwise")
    FACTS(facts)
    body, slot = facts["body"], facts["slot"]
    leaf_text, leaf = leaf_of(facts["leaf"])
    commitment = sha256(b"keyfall/erasure@v1\0", unbase64(facts["opening"]), compact(body))
    path = [unbase64(step) for step in slot["path"]]
    check(str(slot["of"]) == leaf["slots"], "another number of slots")
    check_inclusion(leaf_hash(commitment), slot["index"], slot["of"], path, unbase64(leaf["erases"]))
    check(body["destroyed"] and body["destroyed"][0]["what"] == "root key", "another key than that at the top")
    same = (str(body["commit"]), str(body["epoch"]), body["destroyed"][0]["commitment"], body["pending_until"])
    check(same == (leaf["commit"], leaf["epoch"], leaf["destroys"], leaf["until"]), "another commit than the leaf's")
    check(sha256(compact(body["cell"])) == unbase64(leaf["cell"]), "another cell than the leaf's")
    signed_by(note, key[0], SIGNS, unbase64(leaf["signer"]))
    index, note = proof_of(proofs[0], leaf_text, key)
    ended = leaf
    if facts["final_leaf"] is not None:
        final_text, ended = leaf_of(facts["final_leaf"])
        later, other = proof_of(proofs[1], final_text, key)
        check(later > index and split_note(other)[0] == split_note(note)[0], "the final leaf does not come after its own")
        check((ended["epoch"], ended["destroys"]) == (leaf["epoch"], leaf["destroys"]), "of another epoch")
        check(leaf["until"] and ended["next"] and int(ended["commit"]) > int(leaf["commit"]), "it ends nothing that waits")
    check(len(proofs) == (1 if ended is leaf else 2), "a proof without its leaf")
    check_cell(body["cell"], body["epoch"])
    reasons, limited = pending(facts, ended), limits(body)
    grade = "PENDING" if reasons else "LIMITED" if limited else "FINAL"
    check(head + "\n" == head_of(facts, grade, reasons + limited), "the words above are not what the facts say")
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
