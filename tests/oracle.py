#!/usr/bin/env python3
"""A second reader of keyfall stores, written from SPEC.md alone. Needs Python 3.10 and the package `cryptography`.

    oracle.py list STORE CELL     one JSON line for every record that opens, with the SHA-256 of its content
    oracle.py uploads STORE CELL  one JSON line for every unfinished upload, with the SHA-256 of what is there of it
    oracle.py head STORE CELL     what the head says of the store, as one JSON line
    oracle.py vectors DIR         writes the test vectors: stores made here, good and damaged, each saying what is expected
    oracle.py seeds DIR           writes one well-formed input for each decoder that the fuzzer knows

A vector is a JSON file: `files` holds a store (store/...) and a cell (cell/...) as base64, `expected` what a reader must find:
`records` (id, user, class, purpose, SHA-256 of the content; who `opened` it and what for), `erased` ids, or `error`, the kind of the error with which opening
fails, or `unreadable`, ids of records whose reading fails as corrupt; `uploads` that are unfinished.
"""
import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK, TAG, HEADER = 16384, 16, 56
LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM"
USERS, USER, CLASS, FENCES, LINEAGE, FALLING, HISTORY, HOLDS, MARKS, PLANS, POLICIES, AGENDA, \
    INBOX, GRANTS, SETS, LOG, LOG_TREE, UNBORN, NAMES, LABELS = range(1, 21)
# Bytes of a key in each ordered tree.
KEYS = {kind: 63 if kind in (LINEAGE, MARKS) else 40 if kind == SETS else 20 for kind in range(CLASS, LOG_TREE + 1)} | {LABELS: 21}
# What a user page and a head lead to, in the order of their bits.
OF_USER = (FENCES, LINEAGE, HISTORY, HOLDS, MARKS, PLANS, POLICIES, INBOX, GRANTS)
OF_HEAD = (FALLING, AGENDA, POLICIES, SETS)


# RFC 9162, 2.1

def tree_hash(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    if not leaves:
        return hashlib.sha256(b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def leads_to(leaf, index, size, path, root):
    """RFC 9162, 2.1.3.2"""
    at, last, found = index, size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for step in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = hashlib.sha256(b"\1" + step + found).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + step).digest()
        at, last = at >> 1, last >> 1
    return index < size and last == 0 and found == root


class Corrupt(Exception):
    pass


class Fell(Exception):
    """A record depends on one that is gone."""


# 4. Keys

def prf(key, label, *parts):
    message = label + b"\0" + b"".join(struct.pack(">I", len(p)) + p for p in parts)
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(hash, key, info, length):
    return HKDFExpand(algorithm=hash, length=length, info=info).derive(key)


def content_root(secret, sources):
    """`sources`: lineage secrets. HKDF-Extract is HMAC with the salt as its key."""
    return hmac.new(secret, b"".join(sorted(sources)), hashlib.sha256).digest() if sources else secret


def content_key(root):
    return expand(hashes.SHA256(), root, b"keyfall/content-key/v1", 32)


def lineage_secret(root):
    return expand(hashes.SHA256(), root, b"keyfall/lineage/v1", 32)


def detached_key(without):
    return expand(hashes.SHA256(), without, b"keyfall/detached/v1", 32)


def digest_mask(root, digest):
    """A digest as the entry of a record that does not stand alone has it, and back."""
    return bytes(a ^ b for a, b in zip(digest, expand(hashes.SHA256(), root, b"keyfall/digest/v1", 32)))


def link_key(class_tag, key, what, other=None):
    return class_tag + key + bytes([what]) + (other[16:20] + hashlib.sha256(struct.pack(">Q", 40) + other).digest() if other else bytes(36))


def upload_token(secret):
    return expand(hashes.SHA256(), secret, b"keyfall/upload/v1", 32)[:10]


def segment_name(secret, n):
    return expand(hashes.SHA256(), secret, b"keyfall/segment-name/v1" + struct.pack(">Q", n), 32)[:16]


# 4.4 Sealing

class Suite:
    def __init__(self, key, salt, context):
        # HKDF-Expand with HMAC's key as it is: 32 bytes, which HMAC itself pads.
        info, out, block, n = LABEL + b"\0" + salt + context, b"", b"", 1
        while len(out) < 76:
            block = hmac.new(key, block + info + bytes([n]), hashlib.sha512).digest()
            out, n = out + block, n + 1
        self.aes, self.nonce, self.header = AESGCM(out[:32]), out[32:44], salt + out[44:76]

    def _nonce(self, i):
        return bytes(a ^ b for a, b in zip(self.nonce, i.to_bytes(12, "big")))

    def seal_chunk(self, i, plain):
        return self.aes.encrypt(self._nonce(i), plain, None)

    def open_chunk(self, i, sealed):
        try:
            return self.aes.decrypt(self._nonce(i), sealed, None)
        except InvalidTag:
            raise Corrupt("a chunk does not open")


def opener(key, context, header):
    if len(header) < HEADER:
        raise Corrupt("no header")
    suite = Suite(key, header[:24], context)
    if not hmac.compare_digest(suite.header, header[:HEADER]):
        raise Corrupt("the commitment is another")
    return suite


def seal(key, salt, context, plain):
    suite = Suite(key, salt, context)
    return suite.header + suite.seal_chunk(0, plain)


def open_short(key, context, sealed):
    return opener(key, context, sealed).open_chunk(0, sealed[HEADER:])


# 1. Conventions

class Decoder:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        if self.at + n > len(self.data):
            raise Corrupt("too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def int(self, n):
        return int.from_bytes(self.bytes(n), "big")

    def text(self):
        return self.bytes(self.int(2)).decode("utf-8")

    def short(self):
        return self.bytes(self.int(1))

    def varint(self):
        v = shift = 0
        while True:
            byte = self.int(1)
            v |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if v >= 2**64 or shift and not byte:
            raise Corrupt("a number that is not in its shortest form")
        return v

    def end(self, padding):
        rest = self.data[self.at:]
        if rest.strip(b"\0") if padding else rest:
            raise Corrupt("something follows")


def text(s):
    b = s.encode("utf-8")
    return struct.pack(">H", len(b)) + b


def short(b):
    return bytes([len(b)]) + b


def varint(v):
    out = b""
    while v >= 0x80:
        out, v = out + bytes([v & 0x7F | 0x80]), v >> 7
    return out + bytes([v])


# 9. The default store

class Store:
    """Blobs and the newest head, from the frames of the log."""

    def __init__(self, directory):
        self.blobs, self.head = {}, None
        logs = os.path.join(directory, "log")
        for name in sorted(n for n in os.listdir(logs) if n.endswith(".log")):
            with open(os.path.join(logs, name), "rb") as f:
                self._file(int(name[:-4]), f.read())

    def _file(self, number, data):
        offset = 0
        while offset + 64 <= len(data):
            header = data[offset:offset + 64]
            magic, file, at, _, _, blobs, head_len, body_len, _, table_sum, first = struct.unpack(">8sIQIQIIQIII", header[:60])
            own = struct.pack(">I", zlib.crc32(header[:60]))
            if magic != b"KFFRAME1" or (file, at) != (number, offset) or header[60:] != own:
                return
            body, table_len = offset + 64, 20 * blobs + (16 + head_len if head_len else 0)
            table = data[body + body_len:body + body_len + table_len]
            if zlib.crc32(header[:52] + bytes(4) + header[56:60] + bytes(4) + table) != table_sum:
                return
            d = Decoder(table)
            for n in range(blobs):
                name, length = d.bytes(16), d.int(4)
                # Where a blob was removed there are zeros.
                there = data[body:body + 28]
                if there != bytes(28):
                    if there != label(number, body, name, length, first + n):
                        raise Corrupt("a label is not what the table says")
                    self.blobs[name] = data[body + 28:body + 28 + length]
                body += 28 + length
            if head_len:
                number_of = (d.int(8), d.int(8))
                if self.head is None or self.head[0] < number_of:
                    self.head = (number_of, d.bytes(head_len))
            offset += -(-(64 + body_len + table_len) // 64) * 64

    def get(self, name):
        if name not in self.blobs:
            raise Corrupt("a blob is missing")
        return self.blobs[name]


def padded(length):
    """The length of a payload as it is sealed."""
    if length <= 512:
        return max(1, -(-length // 64)) * 64
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return min(-(-length // step) * step, (2**32 - 1) * CHUNK)


def label(file, offset, name, length, number):
    what = name + struct.pack(">II", length, number)
    return what + struct.pack(">I", zlib.crc32(struct.pack(">IQ", file, offset) + what))


def frame(file, offset, synced, first, blobs, head):
    table = b"".join(name + struct.pack(">I", len(blob)) for name, blob in blobs)
    if head:
        (epoch, commit), sealed = head
        table += struct.pack(">QQ", epoch, commit) + sealed
    body = b""
    for n, (name, blob) in enumerate(blobs):
        body += label(file, offset + 64 + len(body), name, len(blob), first + n) + blob
    header = struct.pack(">8sIQIQIIQI", b"KFFRAME1", file, offset, *synced, len(blobs), len(head[1]) if head else 0,
                         len(body), zlib.crc32(body))
    end = struct.pack(">I", first)
    header += struct.pack(">I", zlib.crc32(header + bytes(4) + end + bytes(4) + table)) + end
    header += struct.pack(">I", zlib.crc32(header))
    out = header + body + table
    return out + bytes(-len(out) % 64)


def marker(naming_key):
    return b"keyfall store, format 1\nnaming key " + (naming_key + struct.pack(">I", zlib.crc32(naming_key))).hex().encode() + b"\n"


# 7. The file cell

def slot(state, store, epoch, attempt, key, fill):
    head = b"KFSLOT01" + bytes([state]) + store + struct.pack(">Q", epoch) + attempt + key
    whole = head + fill[:480 - len(head)]
    return whole + hashlib.sha256(whole).digest() + bytes(4096 - 512)


def claim(directory):
    """Who may change the cell: (instance, claim, token) and the mark; None where nobody has claimed."""
    newest, torn = None, False
    for name in ("claim-a", "claim-b"):
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            continue
        with open(path, "rb") as f:
            data = f.read()
        if len(data) != 4096 or hashlib.sha256(data[:480]).digest() != data[480:512] or data[:8] != b"KFCLAIM1":
            torn = True
        elif newest is None or data[8:16] > newest[8:16]:
            newest = data
    if newest is None and torn:
        raise Corrupt("both claims of the cell")
    if newest is None or newest[32] == 0:
        return None
    number = lambda at: int.from_bytes(newest[at:at + 8], "big")
    return (newest[33:49], number(49), newest[57:73]), number(73)


def cell(directory):
    """The live root keys: (epoch, attempt) -> key."""
    claim(directory)
    keys = {}
    for name in ("slot-a", "slot-b"):
        with open(os.path.join(directory, name), "rb") as f:
            data = f.read()
        whole = len(data) == 4096 and hashlib.sha256(data[:480]).digest() == data[480:512]
        if whole and data[:8] == b"KFSLOT01" and data[8] == 1:
            keys[(int.from_bytes(data[25:33], "big"), data[33:49])] = data[49:81]
    return keys


# 5. The sealed tree

class Tree:
    def __init__(self, store, keys):
        self.store = store
        (epoch, commit), head = store.head
        d = Decoder(head)
        if d.bytes(4) != b"KFHD" or d.int(1) != 1:
            raise Corrupt("no head")
        self.id = d.bytes(16)
        if (d.int(8), d.int(8)) != (epoch, commit):
            raise Corrupt("the head is filed as another")
        attempt = d.bytes(16)
        if (epoch, attempt) not in keys:
            raise Corrupt("no root key of this epoch")
        prefix, sealed = head[:d.at], head[d.at:]
        d = Decoder(open_short(keys[(epoch, attempt)], b"keyfall/head/v1" + prefix, sealed))
        self.page_bytes, self.fan_bits, self.segment = d.int(4), d.int(1), d.int(4)
        self.realm = d.bytes(16)
        d.int(4), d.int(8), d.int(8), d.int(8), d.int(8)
        self.users, self.index_key = d.int(8), d.bytes(32)
        self.root, self.log = d.bytes(48), d.bytes(48)
        self.trees = self.below(OF_HEAD, d, d.int(1))
        self.copies = [(d.int(8), d.int(1), d.text()) for _ in range(d.int(1))]
        d.end(False)

    @staticmethod
    def below(kinds, d, there):
        if there >> len(kinds):
            raise Corrupt("a tree that nobody knows")
        return {kind: d.bytes(48) for n, kind in enumerate(kinds) if there >> n & 1}

    def page(self, kind, ref):
        context = b"keyfall/page/v1" + self.realm + bytes([kind]) + ref[:16]
        return Decoder(open_short(ref[16:], context, self.store.get(ref[:16])))

    def slots(self, ref=None):
        """(tag, incarnation, (ref of the user page, records where there is nothing else to look at), or None for who is not here)"""
        d = self.page(USERS, ref or self.root)
        kind, count = d.int(1), d.int(2)
        if kind == 1:
            for _ in range(count):
                d.int(2)
                yield from self.slots(d.bytes(48))
        elif kind == 2:
            for _ in range(count):
                tag, incarnation, state = d.bytes(12), d.int(2), d.int(1)
                ref, records = d.bytes(48), d.int(4)
                if state not in (1, 2, 3, 4) or state != 3 and records:
                    raise Corrupt("a slot's state")
                if state == 4:
                    self.to_come(ref)
                yield tag, incarnation, None if state in (2, 4) else (ref, records if state == 3 else None)
        else:
            raise Corrupt("a page's kind")
        d.end(True)

    def to_come(self, ref):
        """The fences of a name that nobody had yet."""
        d = self.page(UNBORN, ref)
        if d.int(1) != 1:
            raise Corrupt("a page of fences to come")
        d.bytes(32)
        list(self.ordered(FENCES, d.bytes(48)))
        d.end(True)

    def ordered(self, kind, ref):
        d = self.page(kind, ref)
        yield from self.read_ordered(kind, d)
        d.end(True)

    def read_ordered(self, kind, d, within=False):
        """(key, value); a value of a class is its two texts and the rest."""
        shape, count = d.int(1), d.int(2)
        if shape != (3 if kind == CLASS else 2) and (shape != 1 or within):
            raise Corrupt("a page's kind")
        texts = [d.short() for _ in range(d.int(2))] if shape == 3 else []
        if any(a >= b for a, b in zip(texts, texts[1:])):
            raise Corrupt("texts out of order")
        had, last = set(), b""
        for _ in range(count):
            key = d.bytes(KEYS[kind])
            if last and key <= last:
                raise Corrupt("keys out of order")
            last = key
            if shape == 1:
                d.int(8)
                yield from self.ordered(kind, d.bytes(48))
            elif shape == 2:
                yield key, d.bytes(d.int(2))
            else:
                numbers = d.varint(), d.varint()
                had.update(numbers)
                if max(numbers) >= len(texts):
                    raise Corrupt("a text that is not listed")
                yield key, (*(texts[n] for n in numbers), d.bytes(d.int(2)))
        if len(had) != len(texts):
            raise Corrupt("a text that no entry has")

    def records(self):
        """Every record, with its content: None where it does not open. A record that fell with a source is left out."""
        for record in self.everything():
            if not record["class"].startswith("+"):
                yield {name: value for name, value in record.items() if name not in ("raw", "target", "secret")}

    def uploads(self):
        """Every unfinished upload, with what is there of it."""
        found = {}
        for record in self.everything():
            if not record["class"].startswith("+"):
                continue
            id, ordinal = record["raw"], int.from_bytes(record["raw"][36:], "big")
            if not ordinal >> 31:
                raise Corrupt("an upload with the ordinal of a record")
            found.setdefault(id[:36] + struct.pack(">H", ordinal >> 16 & 0x7FFF), {})[ordinal & 0xFFFF] = record
        for key, parts in found.items():
            head = parts.pop(0, None)
            if head is None or sorted(parts) != list(range(1, len(parts) + 1)):
                raise Corrupt("a part of an upload is missing")
            d = Decoder(head["content"])
            if d.int(1) != 1:
                raise Corrupt("an upload's version")
            d.int(8)
            length = d.int(8) if d.int(1) else None
            name, meta = None, {}
            if d.at < len(d.data):
                mode = d.int(1)
                if mode > 2:
                    raise Corrupt("a mode of a put")
                d.bytes(40 if mode == 2 else 0)
                name, meta = self.label(d.bytes(len(d.data) - d.at))
            d.end(False)
            content = b""
            for n in sorted(parts):
                if parts[n]["created"] != int.from_bytes(key[:6], "big") + len(content) or not parts[n]["content"]:
                    raise Corrupt("a part begins elsewhere")
                content += parts[n]["content"]
            id = key[:30] + head["target"] + key[36:] + upload_token(head["secret"])
            yield {"id": show(id), "user": head["user"], "class": head["class"][1:], "offset": len(content), "length": length,
                   "expires": head["created"], "media_type": head["media_type"], "purpose": head["purpose"],
                   "name": name, "meta": meta, "content": content}

    def everything(self):
        """Every record, uploads and their parts among them."""
        entries, links = {}, {}
        for tag, incarnation, live in self.slots():
            if live is None:
                continue
            ref, alone = live
            total = 0
            d = self.page(USER, ref)
            version, flags = d.int(1), d.int(1)
            if version != 2 or flags > 15 or d.varint() != incarnation:
                raise Corrupt("a user page")
            d.varint()
            due, openings = (d.varint() if flags & 1 else None), (d.varint() if flags & 2 else None)
            name, fence_key = d.bytes(d.varint()).decode(), d.bytes(32)
            there = d.int(2) if flags & 4 else None
            if 0 in (due, openings, there):
                raise Corrupt("a field that is there, and says nothing")
            there = there or 0
            if prf(self.index_key, b"keyfall/user-tag/v1", name.encode())[:12] != tag:
                raise Corrupt("a user page under another's tag")
            trees = self.below(OF_USER, d, there)
            within = labelled = False
            for _ in range(d.int(1)):
                class_tag, class_name, count = d.bytes(6), d.short().decode(), d.varint()
                within |= count == 0
                below = self.ordered(CLASS, d.bytes(48)) if count else self.read_ordered(CLASS, d, True)
                if prf(fence_key, b"keyfall/class-tag/v1", class_name.encode())[:6] != class_tag:
                    raise Corrupt("a class under another's tag")
                below = list(below)
                n = len(below)
                labels, here = self.labels(d) if flags & 8 else ({}, False)
                within, labelled = within or here, labelled or bool(labels)
                for key, value in below:
                    id = key[:16] + tag + struct.pack(">H", incarnation) + class_tag + key[16:]
                    own, meta = labels.pop(key, (None, {}))
                    target = prf(fence_key, b"keyfall/class-tag/v1", class_name.removeprefix("+").encode())[:6]
                    entries[id] = self.entry(key, *value, own, meta) | {"user": name, "class": class_name, "key": (class_tag, key), "target": target}
                if labels:
                    raise Corrupt("a label of no record")
                if n != count and (count or not n):
                    raise Corrupt("a class holds another number of records")
                total += 0 if class_name.startswith("+") else n
            if bool(flags & 8) != labelled:
                raise Corrupt("a user page tells of labels, and has none")
            if within and d.at > 1024 - 72:
                raise Corrupt("records in a long user page")
            if alone != (None if due or there & (2 | 8 | 16) else total):
                raise Corrupt("a slot says something else than its user's page")
            d.end(True)
            found = {kind: dict(self.ordered(kind, tree)) for kind, tree in trees.items()}
            links[tag] = found.get(LINEAGE, {})
        for kind, tree in self.trees.items():
            for _, value in self.ordered(kind, tree):
                if kind == FALLING:
                    list(self.ordered(LINEAGE, value[14:]))
        self.leaves()
        roots = {}
        for id, entry in entries.items():
            try:
                root = self.root_of(id, entries, links, roots)
            except Fell:
                continue
            tag, incarnation = id[16:28], int.from_bytes(id[28:30], "big")
            context = record_context(self.realm, tag, incarnation, id[:16], entry["class"])
            try:
                content = self.content(entry, root, context)
            except Corrupt:
                content = None
            if content is not None and entry["digest"]:
                digest = hashlib.sha256(content).digest()
                if entry["digest"] != (digest if entry["alone"] else digest_mask(root, digest)):
                    raise Corrupt("a digest is that of something else")
            told = ("user", "class", "length", "created", "media_type", "purpose", "name", "meta", "target", "secret")
            opened = self.opened(links[tag], *entry["key"])
            yield {name: entry[name] for name in told} | {"id": show(id), "raw": id, "content": content, "opened": opened}

    def opened(self, links, class_tag, key):
        """Who opened a record, and what for, in the order of time."""
        opened = []
        for link in sorted(link for link in links if link[:27] == class_tag + key + b"\4"):
            d = Decoder(links[link])
            opened.append([d.bytes(d.int(2)).decode(), d.bytes(d.int(2)).decode()])
            if d.at != len(links[link]) or any(link[39:]):
                raise Corrupt("an opening")
        return opened

    def labels(self, d):
        """The labels of a class by the keys of its records, and whether a leaf of them is stored in the user page."""
        form = d.int(1)
        if form not in (0, 4, 5, 7, 12, 13, 15):
            raise Corrupt("labels of another form")
        names = {}
        if form & 1:
            names = dict(self.read_names(d, True) if form & 2 else self.names(d.bytes(48)))
        pieces = {}
        if form & 4:
            for key, piece in self.read_ordered(LABELS, d, True) if form & 8 else self.ordered(LABELS, d.bytes(48)):
                there = pieces.setdefault(key[:20], [])
                if key[20] != len(there):
                    raise Corrupt("a label's pieces")
                there.append(piece)
        labels = {key: self.label(b"".join(there)) for key, there in pieces.items()}
        if names != {name: key for key, (name, _) in labels.items() if name}:
            raise Corrupt("names that are not those of the labels")
        return labels, bool(form & 10)

    def label(self, data):
        d = Decoder(data)
        name, meta, last = d.bytes(d.varint()).decode("utf-8"), {}, b""
        while d.at < len(data):
            key, value = d.bytes(d.varint()), d.bytes(d.varint())
            if key <= last:
                raise Corrupt("metadata out of order")
            last = key
            meta[key.decode("utf-8")] = value.decode("utf-8")
        if not (name or meta):
            raise Corrupt("a label that says nothing")
        return name or None, meta

    def names(self, ref):
        d = self.page(NAMES, ref)
        yield from self.read_names(d)
        d.end(True)

    def read_names(self, d, within=False):
        shape, count, last = d.int(1), d.int(2), b""
        if shape != 2 and (shape != 1 or within) or not count:
            raise Corrupt("a page of names")
        for _ in range(count):
            name = d.bytes(d.int(2))
            if name <= last or len(name) > 1024:
                raise Corrupt("names out of order")
            last = name
            if shape == 2:
                yield name.decode("utf-8"), d.bytes(20)
            else:
                below = list(self.names(d.bytes(48)))
                if below[0][0].encode() != name:
                    raise Corrupt("a name that leads to others")
                yield from below

    def leaves(self):
        """The log's leaves, checked against its right edge."""
        d = self.page(LOG, self.log)
        if d.int(1) != 1:
            raise Corrupt("a log page's version")
        d.text(), d.bytes(96)
        size = d.int(8)
        peaks = [d.bytes(32) for _ in range(bin(size).count("1"))]
        rows = dict(self.ordered(LOG_TREE, d.bytes(48))) if d.int(1) else {}
        leaves = [rows[bytes(1) + struct.pack(">Q", n) + bytes(11)] for n in range(size - size % 8)]
        leaves += [d.text().encode() for _ in range(size % 8)]
        d.end(True)
        at, expected = 0, []
        for bit in reversed(range(64)):
            if size >> bit & 1:
                expected.append(tree_hash(leaves[at:at + (1 << bit)]))
                at += 1 << bit
        if expected != peaks:
            raise Corrupt("the log's edge is not that of its leaves")
        return leaves

    def entry(self, key, media_type, purpose, rest, name, meta):
        d = Decoder(rest)
        flags, secret = d.int(1), d.bytes(32)
        if flags > 127 or flags & 64 and not flags & 8:
            raise Corrupt("an entry's flags")
        if (bool(flags & 16), bool(flags & 32)) != (name is not None, bool(meta)):
            raise Corrupt("another label than the entry says")
        sources, depth = (d.int(2), d.int(2)) if flags & 2 else (0, 0)
        lag = d.varint() if flags & 4 else 0
        if flags & 2 and not (sources or depth) or flags & 4 and not lag:
            raise Corrupt("a field that is there, and says nothing")
        lag = lag >> 1 ^ -(lag & 1)
        entry = {"secret": secret, "detached": flags & 1, "sources": sources, "depth": depth, "first": None,
                 "name": name, "meta": meta, "alone": not sources and not flags & 1, "digest": d.bytes(32) if flags & 64 else None,
                 "created": int.from_bytes(key[:6], "big") + lag & 2**64 - 1,
                 "media_type": media_type.decode(), "purpose": purpose.decode()}
        if flags & 8:
            entry |= {"length": d.varint(), "first": d.bytes(16)}
            d.end(False)
        else:
            body = rest[d.at:]
            plain = entry["alone"]
            entry |= {"body": body, "plain": plain, "length": len(body) - (0 if plain else 72)}
            if not 0 <= entry["length"] <= 512:
                raise Corrupt("a payload's length")
        return entry

    def content(self, entry, root, context):
        if entry["first"]:
            return self.payload(entry["secret"], entry["first"], root, entry["length"], context)
        return entry["body"] if entry["plain"] else open_short(content_key(root), context, entry["body"])

    def root_of(self, id, entries, links, roots):
        if id in roots:
            return roots[id]
        if id not in entries:
            raise Fell(id)
        entry = entries[id]
        own = links.get(id[16:28], {})
        prefix = link_key(*entry["key"], 1)[:27]
        sources = [other for key, other in own.items() if key[:27] == prefix]
        if len(sources) != entry["sources"]:
            raise Corrupt("another number of sources")
        root = content_root(entry["secret"], [lineage_secret(self.root_of(s, entries, links, roots)) for s in sources])
        if entry["detached"]:
            wrapped = own[link_key(*entry["key"], 3)]
            root = open_short(detached_key(root), b"keyfall/wrapped-root/v1" + self.realm + id, wrapped)
        roots[id] = root
        return root

    def payload(self, secret, first, root, length, context):
        segments = padded(length) // self.segment + 1
        data = b"".join(self.store.get(segment_name(secret, n) if n else first) for n in range(segments))
        suite, content = opener(content_key(root), context, data), b""
        for i in range(padded(length) // CHUNK + 1):
            at = HEADER + i * (CHUNK + TAG)
            content += suite.open_chunk(i, data[at:at + CHUNK + TAG])
        if len(content) != padded(length) or any(content[length:]):
            raise Corrupt("another length")
        return content[:length]


def show(id):
    return base64.b32hexencode(id).decode().lower().rstrip("=")


def record_context(realm, tag, incarnation, interaction, class_name):
    return b"keyfall/record/v1" + realm + tag + struct.pack(">H", incarnation) + interaction + text(class_name)


# Vectors: a store written from the specification

def size_class(kind, length, largest):
    if kind in (USERS, LOG, LOG_TREE, USER, CLASS, NAMES, LABELS):
        exponent = length.bit_length() - 1
        free = exponent - exponent.bit_length()
        return min(max(-(-length >> free) << free, 256 if kind in (USER, CLASS, NAMES, LABELS) else 0), largest)
    size = 512
    while size < min(length, largest):
        size *= 2
    return size


def listing(entries):
    """A leaf of a class: key -> media type, purpose, rest."""
    texts = sorted({t for value in entries.values() for t in value[:2]})
    leaf = b"\3" + struct.pack(">HH", len(entries), len(texts)) + b"".join(map(short, texts))
    for key, (media_type, purpose, rest) in sorted(entries.items()):
        leaf += key + varint(texts.index(media_type)) + varint(texts.index(purpose)) + struct.pack(">H", len(rest)) + rest
    return leaf


def entry(secret, sources, depth, lag, body, detached=False, segments=False, named=False, described=False, digest=b""):
    """The rest of an entry, after its texts."""
    flags = detached | (2 if sources or depth else 0) | (4 if lag else 0) | segments << 3
    flags |= named << 4 | described << 5 | bool(digest) << 6
    out = bytes([flags]) + secret + (struct.pack(">HH", sources, depth) if sources or depth else b"")
    return out + (varint(lag * 2 if lag > 0 else -lag * 2 - 1) if lag else b"") + digest + body


def label_pieces(key, name, meta):
    """A label as it is in the tree of labels."""
    texts = [name.encode()] + [t.encode() for pair in sorted(meta.items(), key=lambda pair: pair[0].encode()) for t in pair]
    whole = b"".join(varint(len(t)) + t for t in texts)
    return {key + bytes([n // 1536]): whole[n:n + 1536] for n in range(0, len(whole), 1536)}


def leaf_of(entries):
    leaf = b"\2" + struct.pack(">H", len(entries))
    return leaf + b"".join(k + struct.pack(">H", len(v)) + v for k, v in sorted(entries.items()))


def leaf_of_names(names):
    leaf = b"\2" + struct.pack(">H", len(names))
    return leaf + b"".join(text(name) + key for name, key in sorted(names.items(), key=lambda pair: pair[0].encode()))


class Maker:
    """Makes a store in memory. Everything random comes from the vector's name, so that vectors stay the same."""

    def __init__(self, name, segment=262144):
        self.seed, self.n = name.encode(), 0
        self.blobs, self.log, self.commit, self.plain, self.roots = [], b"", 0, {}, {}
        self.numbered = 0
        self.store, self.index_key, self.attempt = self.random(16), self.random(32), self.random(16)
        self.root_key, self.epoch, self.synced = self.random(32), 1, (1, 0)
        # A store without a realm is one of its own.
        self.realm, self.segment, self.lending = self.store, segment, 0
        self.expected, self.uploads = {"records": [], "erased": [], "unreadable": []}, []

    def random(self, n):
        out = b""
        while len(out) < n:
            self.n += 1
            out += hashlib.sha256(self.seed + struct.pack(">Q", self.n)).digest()
        return out[:n]

    def page(self, kind, plain, largest=4096):
        self.plain.setdefault(kind, plain)
        size = size_class(kind, len(plain) + 72, largest)
        plain += bytes(size - 72 - len(plain))
        name, key = self.random(16), self.random(32)
        context = b"keyfall/page/v1" + self.realm + bytes([kind]) + name
        self.blobs.append((name, seal(key, self.random(24), context, plain)))
        return name + key

    def payload(self, secret, first, root, context, content):
        suite = Suite(content_key(root), self.random(24), context)
        content += bytes(padded(len(content)) - len(content))
        pieces = [content[i:i + CHUNK] for i in range(0, len(content) // CHUNK * CHUNK + 1, CHUNK)]
        chunks = [suite.seal_chunk(i, piece) for i, piece in enumerate(pieces)]
        whole = self.segment // CHUNK
        for n in range(0, len(chunks), whole):
            data = b"".join(chunks[n:n + whole])
            name = segment_name(secret, n // whole) if n else first
            self.blobs.append((name, (suite.header if n == 0 else b"") + data))

    def ordered(self, kind, entries):
        if kind == CLASS:
            return self.page(kind, listing(entries))
        return self.page(kind, leaf_of(entries))

    def user(self, name, records, incarnation=1, fences=(), derived={}, detached={}, facts=(), holds=(), marks={},
             opened={}, due=0, plans={}, policies=(), members={}, inbox={}, grants={}, apart=(), labels={}, digests=(), created={}):
        """records: (class, interaction, ordinal, content, purpose); gives the tree's slot.

        derived: number of a record -> ids of its sources; detached: number -> ids of the sources that it was cut from;
        facts: bytes, or what makes them of a function from a class's name to its tag; holds: what stands in them; marks: number -> numbers of the held records that depend on it;
        opened: number -> (who, what for) in the order of time; apart: classes with pages of their own;
        labels: number -> (name or "", metadata); digests: numbers of records in segments whose entry has the digest;
        created: number -> when it was made.
        """
        tag = prf(self.index_key, b"keyfall/user-tag/v1", name.encode())[:12]
        fence_key = self.random(32)
        classes, links, own, labelled = {}, {}, {}, {}
        for n, (class_name, interaction, ordinal, content, purpose) in enumerate(records):
            secret, first = self.random(32), self.random(16)
            class_tag = prf(fence_key, b"keyfall/class-tag/v1", class_name.encode())[:6]
            key = interaction + struct.pack(">I", ordinal)
            id = interaction + tag + struct.pack(">H", incarnation) + class_tag + struct.pack(">I", ordinal)
            resolve = [own[s][0] if isinstance(s, int) else s for s in derived.get(n, ())]
            cut = [own[s][0] if isinstance(s, int) else s for s in detached.get(n, ())]
            root = content_root(secret, [lineage_secret(self.roots[s][0]) for s in resolve + cut])
            if cut:
                without = content_root(secret, [lineage_secret(self.roots[s][0]) for s in resolve])
                context = b"keyfall/wrapped-root/v1" + self.realm + id
                links[link_key(class_tag, key, 3)] = seal(detached_key(without), self.random(24), context, root)
                at = struct.pack(">QI", 1767225600000, 0) + bytes(24)
                links[link_key(class_tag, key, 6)[:27] + at] = struct.pack(">H", len(cut)) + text("it stands alone")
            depth = 1 + max(self.roots[s][1] for s in resolve) if resolve else 0
            self.roots[id], own[n] = (root, depth), (id, class_tag, key)
            for i, (who, why) in enumerate(opened.get(n, ())):
                at = struct.pack(">QI", 1767225600000 + i // 2, i % 2) + bytes(24)
                links[link_key(class_tag, key, 4)[:27] + at] = text(who) + text(why)
            for set_ in members.get(n, ()):
                links[link_key(class_tag, key, 5)[:27] + set_tag(set_) + bytes(16)] = b""
            for s in resolve:
                links[link_key(class_tag, key, 1, s)] = s
                for other, other_class, other_key in own.values():
                    if other == s:
                        links[link_key(other_class, other_key, 2, id)] = id
            context = record_context(self.realm, tag, incarnation, interaction, class_name)
            segments = len(content) > 512
            if segments:
                self.payload(secret, first, root, context, content)
                body = varint(len(content)) + first
            elif resolve or cut:
                body = seal(content_key(root), self.random(24), context, content)
            else:
                body = content
            lag = created.get(n, 1767225600000) - int.from_bytes(interaction[:6], "big")
            own_name, meta = labels.get(n, ("", {}))
            digest = hashlib.sha256(content).digest() if n in digests else b""
            if digest and (resolve or cut):
                digest = digest_mask(root, digest)
            rest = entry(secret, len(resolve), depth, lag, body, bool(cut), segments, bool(own_name), bool(meta), digest)
            classes.setdefault(class_name, {})[key] = (b"audio/x-wav", purpose.encode(), rest)
            if class_name.startswith("+"):
                target = prf(fence_key, b"keyfall/class-tag/v1", class_name[1:].encode())[:6]
                self.uploads.append((id[:30] + target + struct.pack(">H", ordinal >> 16 & 0x7FFF) + upload_token(secret), ordinal & 0xFFFF))
                continue
            if own_name or meta:
                labelled.setdefault(class_name, {})[key] = (own_name, meta)
            told = {"name": own_name, "meta": meta} if own_name or meta else {}
            told |= {"opened": [list(by) for by in opened[n]]} if n in opened else {}
            self.expected["records"].append({"id": show(id), "user": name, "class": class_name, "purpose": purpose,
                                             "sha256": hashlib.sha256(content).hexdigest()} | told)
        tagged = sorted((prf(fence_key, b"keyfall/class-tag/v1", c.encode())[:6], c) for c in classes)
        points = {}
        for class_name, interaction, ordinal in fences:
            class_tag = prf(fence_key, b"keyfall/class-tag/v1", class_name.encode())[:6]
            what = prf(fence_key, b"keyfall/fence-tag/v1", b"\3", class_tag, interaction, struct.pack(">I", ordinal))
            points[b"\2" + what[:16] + bytes(3)] = struct.pack(">Q", self.epoch)
            id = interaction + tag + struct.pack(">H", incarnation) + class_tag + struct.pack(">I", ordinal)
            self.expected["erased"].append(show(id))
        class_tag = lambda c: prf(fence_key, b"keyfall/class-tag/v1", c.encode())[:6]
        facts = [fact(class_tag) if callable(fact) else fact for fact in facts]
        history = {struct.pack(">QI", 1767225600000, n) + bytes(8): fact for n, fact in enumerate(facts)}
        held = {struct.pack(">Q", n + 1) + bytes(12): hold for n, hold in enumerate(holds)}
        marked = {link_key(*own[n][1:], 0, own[m][0]): own[m][0] for n, others in marks.items() for m in others}
        there, trees = self.below(OF_USER, {FENCES: points, LINEAGE: links, HISTORY: history, HOLDS: held, MARKS: marked,
                                            PLANS: plans, POLICIES: keyed(policies), INBOX: inbox, GRANTS: grants})
        openings = sum(map(len, opened.values()))
        flags = (1 if due else 0) | (2 if openings else 0) | (4 if there else 0) | (8 if labelled else 0)
        page = bytes([2, flags]) + varint(incarnation) + varint(1767225600000) + (varint(due) if due else b"")
        page += (varint(openings) if openings else b"") + varint(len(name.encode())) + name.encode() + fence_key
        page += (struct.pack(">H", there) if there else b"") + trees + bytes([len(tagged)])
        pointer = lambda entries: varint(len(entries)) + bytes(48)
        # Each class with a pointer, and then as many as there is room for in place of it, in order.
        names = {c: {name: key for key, (name, _) in own.items() if name} for c, own in labelled.items()}
        leaves = {c: {NAMES: leaf_of_names(names[c]) if names.get(c) else b"",
                      LABELS: leaf_of({k: v for key, own in labelled.get(c, {}).items() for k, v in label_pieces(key, *own).items()})
                      if c in labelled else b""} for _, c in tagged}
        # What is shorter as a leaf counts as one, if the page is short.
        refs = lambda c: bool(labelled) + sum(min(48, len(leaf) if c not in apart else 48) for leaf in leaves[c].values())
        length = len(page) + sum(7 + len(c) + len(pointer(classes[c])) + refs(c) for _, c in tagged)
        is_short = length <= 1024 - 72
        for class_tag, class_name in tagged:
            entries = classes[class_name]
            page += class_tag + short(class_name.encode())
            leaf = b"\0" + listing(entries)
            if length + len(leaf) - len(pointer(entries)) <= 1024 - 72 and class_name not in apart:
                length += len(leaf) - len(pointer(entries))
                self.plain.setdefault(CLASS, leaf[1:])
                page += leaf
            else:
                page += varint(len(entries)) + self.ordered(CLASS, entries)
            if labelled:
                form, trees = 0, b""
                for bit, (kind, leaf) in zip((1, 4), leaves[class_name].items()):
                    if not leaf:
                        continue
                    self.plain.setdefault(kind, leaf)
                    form |= bit
                    if is_short and length + max(0, len(leaf) - 48) <= 1024 - 72 and class_name not in apart:
                        length += max(0, len(leaf) - 48)
                        form |= bit << 1
                        trees += leaf
                    else:
                        trees += self.page(kind, leaf)
                page += bytes([form]) + trees
        alone = not (due or links or held or marked)
        state, total = (3, len(records)) if alone else (1, 0)
        return tag + struct.pack(">HB", incarnation, state) + self.page(USER, page, 16384) + struct.pack(">I", total)

    def log_page(self, leaves):
        whole, peaks, at = len(leaves) // 8 * 8, b"", 0
        for bit in reversed(range(64)):
            if len(leaves) >> bit & 1:
                peaks += tree_hash(leaves[at:at + (1 << bit)])
                at += 1 << bit
        rows = {b"\0" + struct.pack(">Q", n) + bytes(11): leaf for n, leaf in enumerate(leaves[:whole])}
        for row in range(1, 8):
            for n in range(len(leaves) >> 3 * row):
                key = bytes([row]) + struct.pack(">Q", n) + bytes(11)
                rows[key] = tree_hash(leaves[n << 3 * row:(n + 1) << 3 * row])
        page = b"\1" + text("example.com/log") + self.random(96) + struct.pack(">Q", len(leaves)) + peaks
        page += b"\1" + self.ordered(LOG_TREE, rows) if rows else b"\0"
        return self.page(LOG, page + b"".join(text(leaf.decode()) for leaf in leaves[whole:]), 8192)

    def below(self, kinds, trees):
        there = sum(1 << n for n, kind in enumerate(kinds) if trees.get(kind))
        return there, b"".join(self.ordered(kind, trees[kind]) for kind in kinds if trees.get(kind))

    def erased_user(self, name, interaction):
        tag = prf(self.index_key, b"keyfall/user-tag/v1", name.encode())[:12]
        id = interaction + tag + struct.pack(">H", 1) + self.random(6) + bytes(4)
        self.expected["erased"].append(show(id))
        return tag + struct.pack(">H", 1) + b"\2" + struct.pack(">Q", self.epoch) + bytes(44)

    def user_to_come(self, name, interaction):
        tag, fence_key = prf(self.index_key, b"keyfall/user-tag/v1", name.encode())[:12], self.random(32)
        what = prf(fence_key, b"keyfall/fence-tag/v1", b"\1", interaction)[:16]
        fences = self.ordered(FENCES, {b"\2" + what + bytes(3): struct.pack(">Q", self.epoch)})
        return tag + struct.pack(">HB", 1, 4) + self.page(UNBORN, b"\1" + fence_key + fences) + bytes(4)

    def publish(self, slots, deep=False, pending=0, **trees):
        live = sum(1 for s in slots if s[14] not in (2, 4))
        if deep:
            # An interior page of the user tree: a leaf for each first digit of six bits.
            digits = {}
            for s in slots:
                digits.setdefault(s[0] >> 2, []).append(s)
            page = b"\1" + struct.pack(">H", len(digits))
            for digit, here in sorted(digits.items()):
                leaf = b"\2" + struct.pack(">H", len(here)) + b"".join(sorted(here))
                page += struct.pack(">H", digit) + self.page(USERS, leaf)
        else:
            page = b"\2" + struct.pack(">H", len(slots)) + b"".join(sorted(slots))
        log, root = self.log_page(trees.get("leaves", ())), self.page(USERS, page)
        self.commit += 1
        prefix = b"KFHD\1" + self.store + struct.pack(">QQ", self.epoch, self.commit) + self.attempt
        plain = struct.pack(">IBI", 4096, 6, self.segment) + self.realm + struct.pack(">I", self.lending)
        plain += struct.pack(">QQQQQ", 1767225600000, 0, 1767225600000, pending, live) + self.index_key + root + log
        there, below = self.below(OF_HEAD, {FALLING: trees.get("falling"), AGENDA: trees.get("agenda"),
                                            POLICIES: keyed(trees.get("policies", ())), SETS: trees.get("sets")})
        plain += bytes([there]) + below + b"\0"
        head = prefix + seal(self.root_key, self.random(24), b"keyfall/head/v1" + prefix, plain)
        self.log += frame(1, len(self.log), self.synced, self.numbered, self.blobs, ((self.epoch, self.commit), head))
        self.numbered += len(self.blobs)
        self.synced, self.blobs = (1, len(self.log)), []

    def stage(self):
        """A frame without a head: it says that everything before it was synced, so that damage there is damage."""
        blob = (self.random(16), self.random(100))
        self.log += frame(1, len(self.log), self.synced, self.numbered, [blob], None)
        self.numbered += 1

    def files(self):
        live = slot(1, self.store, self.epoch, self.attempt, self.root_key, self.random(512))
        gone = slot(2, self.store, self.epoch - 1, self.random(16), self.random(32), self.random(512))
        return {"store/keyfall": marker(self.random(16)), "store/log/00000001.log": self.log,
                "cell/slot-a": live, "cell/slot-b": gone, "cell/remnants-accepted": b""}

    def vector(self, about, files=None, **expected):
        files = files or self.files()
        packed = {path: base64.b64encode(zlib.compress(data, 9)).decode() for path, data in files.items()}
        return {"about": about, "files": packed, "expected": expected or self.expected}


def keyed(policies):
    """Policies by their keys: what is hashed stands behind its length in eight bytes."""
    def key(policy):
        d = Decoder(policy[1:])
        parts = [d.text().encode(), d.text().encode()]
        return hashlib.sha256(b"".join(struct.pack(">Q", len(p)) + p for p in parts)).digest()[:20]
    return {key(policy): policy for policy in policies}


def policy(class_name, purpose="", age=None, number=None, until=None, named=False, derived=None, certified=None):
    numbers = (age, number, until)
    flags = sum(1 << n for n, x in enumerate(numbers) if x is not None) | named << 3 | bool(purpose) << 4
    flags |= (derived is not None) << 5 | (certified is not None) << 6
    tail = b"".join(text(x) for x in [derived, *(certified or ())] if x is not None)
    limits = b"".join(struct.pack(">Q", x) for x in numbers if x is not None)
    return b"\1" + text(class_name) + text(purpose) + bytes([flags]) + limits + tail


def hashed(*parts):
    return hashlib.sha256(b"".join(struct.pack(">Q", len(p)) + p for p in parts)).digest()


def set_tag(name):
    return hashed(name.encode())[:20]


def planned(due, number, erase):
    return {struct.pack(">QQ", due, number) + bytes(4): struct.pack(">Q", 1767225600000) + erase}


def interaction(ms, n):
    return ms.to_bytes(6, "big") + bytes([0x70, n, 0x80]) + bytes([n] * 7)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def vectors():
    began = 1767225600000

    def good(name, size=300):
        m = Maker(name)
        first, second = interaction(began, 1), interaction(began + 5, 2)
        slots = [m.user("ada", [("audio", first, 0, m.random(size), "wake word"), ("audio", first, 1, b"", ""),
                                ("transcript", first, 0, "wécker um 6:30".encode(), "to be read")],
                        fences=[("audio", second, 0)]),
                 m.user("Ünïcode \U0001F3A4", [("action", second, 7, b'{"alarm":"6:30"}', "so that it rings")], 3),
                 m.erased_user("ben", first)]
        m.publish(slots)
        return m

    m = good("good")
    yield "good", m.vector("three users, one of them erased, records of three classes, a fence")
    m = Maker("short")
    at = lambda n: interaction(began + n, n)
    m.publish([m.user("ada", [("audio", at(n), 0, m.random(size), "to listen") for n, size in enumerate((0, 1, 511, 512, 513, 700))]),
               m.user("ben", [("audio", at(1), 0, b"wake me", ""), ("transcript", at(1), 0, m.random(512), "letters"),
                              ("transcript", at(1), 1, m.random(513), "letters"), ("action", interaction(began - 5000, 3), 0, b"{}", "")],
                      derived={1: [0], 2: [0], 3: [1]}),
               m.user("chloe", [("audio", at(2), 0, b"at six", ""), ("transcript", at(2), 0, b"six", "")], apart=("audio",))])
    yield "short", m.vector("payloads in their entries, sealed where they are derived, up to the longest; classes within the user page")
    m = Maker("named")
    room = {"device": "kitchen", "said": "wécker"}
    m.publish([m.user("ada", [("audio", at(1), 0, m.random(700), ""), ("audio", at(2), 0, b"wake me", ""), ("transcript", at(1), 0, b"at six", "letters"),
                              ("transcript", at(3), 0, m.random(900), "letters"), ("action", at(4), 0, b"{}", "")],
                      derived={2: [0], 3: [0]}, digests=(0, 3),
                      labels={0: ("2026/11/26/wake.wav", room), 1: ("2026/11/26/", {}), 2: ("2026/11/26/wake.txt", {}), 3: ("", {"k": ""})}),
               m.user("ben", [("audio", at(n), 0, m.random(n), "") for n in range(4)], apart=("audio",),
                      labels={0: ("n" * 1024, {"long": "v" * 2044}), 2: ("\U0001F3A4", {}), 3: ("", room)})])
    yield "named", m.vector("names, metadata and digests: in the user page, in pages of their own, in several pieces")
    m = Maker("large")
    content = [m.random(n) for n in (16384, 16385, 262144)]
    m.publish([m.user("ada", [("audio", interaction(began + n, n), 0, c, "") for n, c in enumerate(content)])])
    yield "large", m.vector("records at the borders of chunk and segment")
    m = Maker("small segments", 32768)
    content = [m.random(n) for n in (32767, 32768, 81920)]
    m.publish([m.user("ada", [("audio", interaction(began + n, n), 0, c, "") for n, c in enumerate(content)])])
    yield "small-segments", m.vector("segments of two chunks: one that is not quite full, and what follows a full one")
    m = Maker("realm")
    m.realm = m.random(16)
    first = interaction(began, 1)
    m.publish([m.user("ada", [("audio", first, 0, b"wake me", ""), ("transcript", first, 0, b"wake me, in letters", "")],
                      derived={1: [0]}),
               m.user("ben", [("audio", first, 0, b"at six", ""), ("transcript", first, 0, b"six", "")], detached={1: [0]}),
               m.erased_user("chloe", first)])
    yield "realm", m.vector("a store of a realm: pages, payloads and a wrapped root are bound to its id, the head to the store's")
    m = Maker("deep")
    m.publish([m.user(f"user {n}", [("audio", interaction(began + n, n), 0, bytes([n]), "")]) for n in range(12)], deep=True)
    yield "deep", m.vector("a user tree of two levels")
    m = good("two commits")
    m.publish([m.user("chloe", [("audio", interaction(began + 9, 9), 0, b"second", "")])])
    m.expected = {"records": m.expected["records"][-1:], "erased": [], "unreadable": []}
    yield "two-commits", m.vector("the newest head counts, within an epoch")
    m = Maker("lineage")
    ring, first, second = b'{"alarm":"6:30"}', interaction(began, 1), interaction(began + 5, 2)
    ada = m.user("ada", [("audio", first, 0, m.random(400), ""), ("transcript", first, 0, b"wake me at 6:30", ""),
                         ("action", first, 0, ring, "so that it rings"), ("audio", second, 0, m.random(300), ""),
                         ("action", second, 0, ring, "kept"), ("action", second, 1, ring, "from the rest")],
                 derived={1: [0], 2: [1, 0], 5: [1]}, detached={4: [3], 5: [3]},
                 opened={1: [("analyst", "to count words")] * 3, 3: [("ada", "to listen")]},
                 facts=[lambda tag: b"\2" + tag("action") + struct.pack(">Q", 2) + text("the alarm goes on ringing")])
    m.publish([ada])
    yield "lineage", m.vector("records derived from others, one of them through another, two detached from some sources")
    m = Maker("fallen")
    m.user("ben", [("audio", first, 0, b"gone", "")])
    gone = base64.b32hexdecode(m.expected["records"].pop()["id"].upper())
    chloe = m.user("chloe", [("transcript", second, 0, b"from ben's", ""), ("action", second, 0, b"from that", ""),
                             ("audio", second, 0, b"her own", "")], derived={0: [gone], 1: [0]})
    m.expected["erased"] = [r["id"] for r in m.expected["records"][:2]] + [show(gone)]
    fell, m.expected["records"] = m.expected["records"][0]["id"], m.expected["records"][2:]
    fell = base64.b32hexdecode(fell.upper())
    ben = gone[16:28] + struct.pack(">H", 1) + b"\2" + struct.pack(">Q", m.epoch) + bytes(44)
    links = m.ordered(LINEAGE, {link_key(gone[30:36], gone[:16] + gone[36:], 2, fell): fell})
    m.publish([ben, chloe], falling={struct.pack(">QI", 1, 0) + bytes(8): gone[16:30] + links})
    yield "fallen", m.vector("a user was erased, and what others hold of it is still to be followed")
    m = Maker("to come")
    m.publish([m.user("ada", [("audio", first, 0, b"hers", "")]), m.user_to_come("eve", second), m.erased_user("fay", first)])
    yield "to-come", m.vector("a name of which an interaction was erased before anybody had it")
    m = Maker("held")
    records = [("audio", first, 0, b"the call", ""), ("transcript", first, 0, b"what was said", ""), ("audio", second, 0, b"free", "")]
    hold = struct.pack(">Q", began) + text("transcript") + bytes(16) + text("a court asks") + text("the court")
    fact = lambda tag: b"\3" + struct.pack(">Q", 1) + tag("transcript") + b"\0" + text("a court asks") + text("the court")
    m.publish([m.user("ada", records, derived={1: [0]}, holds=[hold], marks={0: [1]}, facts=[fact])])
    m.expected["held"] = [r["id"] for r in m.expected["records"][:2]]
    yield "held", m.vector("a class under a legal hold, and the record that it was derived from")
    m = Maker("uploads")
    until, header = began + 9000 * 86400000, lambda n: 1 << 31 | n << 16
    said = m.random(700)
    records = [("audio", first, 0, b"the call", ""), ("+audio", first, header(5), b"\1" + struct.pack(">Q", began + 7) + b"\0", "to hear"),
               ("+audio", first, header(5) + 1, said, "to hear"), ("+audio", first, header(5) + 2, b"the end", "to hear"),
               ("+action", second, header(9), b"\1" + struct.pack(">QBQ", began, 1, 99), ""), ("+action", second, header(9) + 1, b"it rings", ""),
               ("+audio", second, header(0), b"\1" + struct.pack(">Q", began) + b"\0\1" + label_pieces(b"", "wake.wav", {"device": "kitchen"})[b"\0"], "")]
    at = lambda interaction, offset: int.from_bytes(interaction[:6], "big") + offset
    slot_ = m.user("ada", records, derived={4: [0], 5: [4]}, due=until,
                   created={1: until, 2: at(first, 0), 3: at(first, 700), 4: until + 1, 5: at(second, 0), 6: until + 2})
    m.publish([slot_], agenda={struct.pack(">Q", until) + slot_[:12]: b""})
    upload = lambda id, class_name, offset, length, expires, purpose, name=None, meta={}: {
        "id": show(id), "user": "ada", "class": class_name, "offset": offset, "length": length, "expires": expires, "purpose": purpose,
        "name": name, "meta": meta}
    begun = [id for id, part in m.uploads if part == 0]
    m.expected["uploads"] = [upload(begun[0], "audio", 707, None, until, "to hear"), upload(begun[1], "action", 8, 99, until + 1, ""),
                             upload(begun[2], "audio", 0, None, until + 2, "", "wake.wav", {"device": "kitchen"})]
    yield "uploads", m.vector("uploads that are not finished, one of them derived, one without a part and with a name")
    m = Maker("planned")
    day = 86400000
    whole = b"\2" + text("") + b"\0\0"
    keeping = b"\2" + text("") + b"\1" + first + b"\2" + text("action") + text("it rings") + text("alarm") + text("")
    span = b"\2" + text("audio") + b"\2" + struct.pack(">QQ", 0, began) + b"\xff" + text("it rings")
    whole += text("ada") + text("GDPR, article 17")
    plans = planned(began + 9000 * day, 7, whole) | planned(began + 9001 * day, 8, keeping) | planned(began + 9002 * day, 9, span)
    slot_ = m.user("ada", [("audio", first, 0, b"to go", ""), ("transcript", second, 0, b"health", "treatment")],
                   due=began + 9000 * day, plans=plans,
                   policies=[policy("audio", number=3, derived="it rings"), policy("transcript", "treatment", age=9999 * day, named=True)],
                   facts=[b"\6" + struct.pack(">QQ", 7, began + 9000 * day), b"\7" + struct.pack(">Q", 6)])
    agenda = {struct.pack(">Q", began + 9000 * day) + slot_[:12]: b""}
    m.publish([slot_], agenda=agenda, policies=[policy("audio", age=9999 * day, certified=("the board", "")), policy("action", until=began)],
              pending=began + 9003 * day)
    m.expected["records"].pop()
    m.expected |= {"plans": [began + 9000 * day, began + 9001 * day, began + 9002 * day], "policies": 2, "named": 1,
                   "pending": began + 9003 * day}
    yield "planned", m.vector("erases to come, policies of a user and of the store, an erase that is pending")
    m = Maker("shared")
    grantee, number = m.random(32), m.random(8)
    made = began + 9000 * day
    inbox = {b"\1" + number + bytes(11): struct.pack(">Q", made) + m.random(32)}
    grant = b"\1" + grantee + struct.pack(">QBQQQQI", began, 0, 0, began + 7, 4, began, 1) + text("transcript") + text("Ride skill") + text("to order rides")
    granted = lambda tag: b"\x08" + struct.pack(">Q", 5) + text("Ride skill") + tag("transcript") + b"\0" + text("to order rides")
    run = [("training set voices, run 1", "to mend")]
    slot_ = m.user("ada", [("audio", first, 0, b"came sealed", ""), ("transcript", first, 0, b"wake me", "")], due=made + 14 * day,
                   inbox=inbox, grants={struct.pack(">Q", 5) + bytes(12): grant}, members={1: ["voices"]}, opened={1: run},
                   facts=[granted, b"\x09" + struct.pack(">Q", 4)])
    about = b"\1" + grantee + struct.pack(">QQQQQI", began, began + 9, 1, 1, began, 1) + text("voices") + text("to order rides")
    sets = {set_tag("voices") + bytes(20): about, set_tag("voices") + b"\1" + slot_[:12] + bytes(7): b""}
    m.publish([slot_], agenda={struct.pack(">Q", made + 14 * day) + slot_[:12]: b""}, sets=sets)
    m.expected |= {"grants": 1, "sets": [["voices", 1]], "inbox_keys": [made]}
    yield "shared", m.vector("an inbox key, a grant, a training set with one record")
    m = good("in the middle of an erase")
    files = m.files()
    files["cell/slot-b"] = slot(1, m.store, 2, m.random(16), m.random(32), m.random(512))
    yield "deposited", m.vector("a key of the next epoch was deposited and nothing published: the old state", files)

    # Damaged.
    m = good("torn tail")
    files = m.files()
    whole = files["store/log/00000001.log"]
    m.publish([m.user("dora", [("audio", interaction(began + 9, 9), 0, b"torn", "")])])
    m.expected["records"].pop()
    files["store/log/00000001.log"] = whole + m.log[len(whole):-100]
    yield "torn-tail", m.vector("a commit that was cut short is not there", files)
    m = good("payload", 900)
    m.stage()
    first = m.expected["records"][0]
    files = m.files()
    log = files["store/log/00000001.log"]
    files["store/log/00000001.log"] = flip(log, 64 + 28 + 60)
    m.expected["records"].remove(first)
    m.expected["unreadable"].append(first["id"])
    yield "payload-damaged", m.vector("one bit of a payload changed: that record is corrupt, the others are read", files)
    m = good("root page")
    root_at = 64 + struct.unpack(">Q", m.log[40:48])[0] - 100
    m.stage()
    files = m.files()
    files["store/log/00000001.log"] = flip(m.log, root_at)
    yield "root-page-damaged", m.vector("one bit of the root page changed", files, error="Corrupt")
    m = good("other key")
    files = m.files()
    files["cell/slot-a"] = slot(1, m.store, 1, m.attempt, m.random(32), m.random(512))
    yield "wrong-root-key", m.vector("the cell holds another key under the same name", files, error="Corrupt")
    m = good("other attempt")
    files = m.files()
    files["cell/slot-a"] = slot(1, m.store, 1, m.random(16), m.root_key, m.random(512))
    yield "other-attempt", m.vector("the key of another attempt at the same epoch", files, error="Mismatch")
    m = Maker("lending")
    m.lending = 2000
    m.publish([m.user("ada", [("audio", interaction(began, 1), 0, b"wake me", "")])])
    yield "lending", m.vector("a store whose keys may be lent to another process: an engine that does not wait for these must not open it",
                              None, error="Refused")
    m = good("store behind")
    files = m.files()
    files["cell/slot-a"] = slot(1, m.store, 2, m.random(16), m.random(32), m.random(512))
    yield "store-behind", m.vector("the store is older than the cell", files, error="Mismatch")
    m = good("cell behind")
    files = m.files()
    m.epoch, m.attempt, m.root_key = 2, m.random(16), m.random(32)
    m.publish([])
    files["store/log/00000001.log"] = m.log
    yield "cell-behind", m.vector("an old copy of the cell beside a newer store", files, error="Mismatch")
    m = good("other store")
    files = m.files()
    files["cell/slot-a"] = slot(1, m.random(16), 1, m.attempt, m.root_key, m.random(512))
    yield "other-store", m.vector("the cell of another store", files, error="Mismatch")
    m = good("torn slot")
    files = m.files()
    files["cell/slot-a"] = flip(files["cell/slot-a"], 60)
    yield "slot-damaged", m.vector("no slot holds a whole key", files, error="Corrupt")
    m = good("no log")
    files = m.files()
    files["store/log/00000001.log"] = b""
    yield "empty-store", m.vector("an empty store beside a used cell is never taken for a new one", files, error="Corrupt")
    m = Maker("transplanted")
    slots = [m.user(n, [("audio", interaction(began, 1), 0, n.encode(), "")]) for n in ("ada", "ben")]
    page_a, page_b = slots[0][15:], slots[1][15:]
    ids = [r["id"] for r in m.expected["records"]]
    a, b = next(i for i, (n, _) in enumerate(m.blobs) if n == page_a[:16]), next(
        i for i, (n, _) in enumerate(m.blobs) if n == page_b[:16])
    m.blobs[a], m.blobs[b] = (m.blobs[a][0], m.blobs[b][1]), (m.blobs[b][0], m.blobs[a][1])
    m.publish(slots)
    yield "transplanted", m.vector("the stored pages of two users were exchanged: neither opens", None,
                                   records=[], erased=[], unreadable=ids)


def b64(data):
    return base64.b64encode(data).decode()


def sample_leaf(m):
    return ("keyfall/erase@v1\ncommit 17\nepoch 7\ntime 2026-11-22T08:15:00Z\nerases 16 %s\ndestroys %s\nnext %s %s\n"
            "cell %s\nsigner %s\n") % (b64(m.random(32)), b64(m.random(32)), m.random(16).hex(),
                                       *(b64(m.random(32)) for _ in range(3)))


def seeds():
    m = Maker("seeds")
    first = interaction(1767225600000, 1)
    tag = bytes(range(1, 7))
    facts = [b"\2" + tag + struct.pack(">Q", 2) + text("it rings"),
             b"\3" + struct.pack(">Q", 7) + tag + b"\1" + text("why") + text("who"),
             b"\4" + struct.pack(">Q", 7) + text("why") + text("who"),
             b"\5" + b"\4" + tag + bytes(range(16)) + struct.pack(">Q", 3),
             b"\6" + struct.pack(">QQ", 7, 1767225600000), b"\7" + struct.pack(">Q", 7),
             b"\x08" + struct.pack(">Q", 5) + text("a skill") + bytes(6) + struct.pack(">BQ", 1, 9) + text("to help"),
             b"\x09" + struct.pack(">Q", 5), b"\x0a" + struct.pack(">Q", 7) + text("corrupt")]
    records = [("audio", first, 0, b"x", "wake word"), ("action", first, 0, b"y", ""), ("action", first, 1, b"z", "")]
    leaves = [b"a leaf %d" % n for n in range(11)]
    m.publish([m.user("ada", records, fences=[("audio", first, 3)], derived={1: [0]}, detached={2: [0]}, facts=facts,
                      opened={0: [("analyst", "to count words")]}, apart=("audio", "action")),
               m.erased_user("ben", first)], falling={bytes(20): m.random(14) + m.random(48)}, leaves=leaves)
    plain = struct.pack(">IBI", 4096, 6, 262144) + m.store + struct.pack(">IQQQQQ", 2000, 1767225600000, 0, 1767225600000, 5, 1) + m.index_key + m.random(96) + b"\3" + m.random(96)
    plain += b"\2" + m.random(8) + b"\1" + text("/mnt/a") + m.random(8) + b"\2" + text("/mnt/b")
    texts = short(b"audio/x-wav") + short(b"wake word")
    secret, name, body = m.random(32), m.random(16), m.random(80)
    entries = [("entry", entry(secret, 2, 1, 0, varint(70000) + name, True, True)),
               ("entry-segments", entry(secret, 0, 0, -7, varint(513) + name, False, True)),
               ("entry-derived", entry(secret, 1, 1, 300, body)), ("entry-detached", entry(secret, 0, 0, 0, body, True)),
               ("entry-plain", entry(secret, 0, 0, 0, b"wake me")), ("entry-empty", entry(secret, 0, 0, 1, b""))]
    interior = b"\1" + struct.pack(">H", 2) + b"\0\3" + m.random(48) + b"\0\7" + m.random(48)
    ordered = b"\1" + struct.pack(">H", 2) + bytes(20) + struct.pack(">Q", 4) + m.random(48)
    ordered += b"\1" * 20 + struct.pack(">Q", 5) + m.random(48)
    id = first + m.random(12) + b"\0\1" + m.random(6) + bytes(4)
    yield 0, "prefix", b"KFHD\1" + m.store + struct.pack(">QQ", 1, 1) + m.attempt
    yield 1, "head", plain
    yield 2, "users-leaf", m.plain[USERS]
    yield 2, "users-interior", interior
    few = Maker("few records")
    few.user("ada", records, derived={1: [0]})
    yield 3, "user", m.plain[USER]
    yield 3, "user-short", few.plain[USER]
    yield 28, "class-leaf", m.plain[CLASS]
    yield 28, "class-interior", ordered
    yield 4, "ordered-interior", ordered
    yield 4, "fences", m.plain[FENCES]
    for name, rest in entries:
        yield 5, name, texts + rest
    yield 11, "links", m.plain[LINEAGE]
    yield 12, "falling", m.plain[FALLING]
    for name, fact in zip(("kept", "held", "lifted", "refused", "planned", "cancelled", "granted", "revoked", "failed"), facts):
        yield 13, "fact-" + name, fact
    yield 14, "policy", policy("audio", "treatment", 1, None, 3, True)
    yield 14, "policy-number", policy("audio", number=9)
    yield 14, "policy-derived", policy("audio", "treatment", 1, derived="it rings")
    yield 15, "erase", b"\2" + text("audio") + b"\2" + struct.pack(">QQ", 0, 2**64 - 1) + b"\1" + text("action") + text("it rings")
    yield 14, "policy-certified", policy("audio", age=1, derived="it rings", certified=("the board", "retention"))
    yield 15, "erase-certified", b"\1" + id + b"\0" + text("ada") + text("")
    yield 15, "erase-record", b"\1" + id + b"\0"
    yield 15, "erase-derived", b"\2" + text("audio") + b"\0\xff" + text("it rings")
    yield 15, "erase-interaction", b"\2" + text("") + b"\1" + first + b"\0"
    yield 16, "grant", b"\1" + m.random(32) + struct.pack(">QBQQQQI", 1, 1, 2, 3, 4, 3, 1) + text("audio") + text("a skill") + text("to help")
    yield 17, "set", b"\1" + m.random(32) + struct.pack(">QQQQQI", 1, 2, 3, 4, 2, 1) + text("voices") + text("to mend")
    about = b"\1" + text("ada") + text("audio") + first + struct.pack(">Q", 9) + text("audio/x-wav") + text("why") + b"\0\1" + id
    yield 18, "envelope", struct.pack(">I", len(about)) + about + b"payload"
    yield 19, "item", b"\1" + id + text("ada") + text("audio") + struct.pack(">Q", 9) + text("audio/x-wav") + text("why")
    yield 19, "item-file", b"\2" + text("report.json")
    ticket = b"\1" + m.store + m.random(12) + b"\0\1" + m.random(8)
    yield 20, "request", b"KFASKING\1" + struct.pack(">H", len(ticket)) + ticket + struct.pack(">Q", 9) + m.random(1216) + m.random(64)
    ticket = b"\2" + m.store + m.random(20)
    yield 20, "request-set", b"KFASKING\1" + struct.pack(">H", len(ticket)) + ticket + struct.pack(">Q", 9) + m.random(1216) + m.random(64)
    address = m.store + m.random(12) + b"\0\1" + m.random(8)
    yield 21, "sealed-head", b"KFSEALED\1\1" + struct.pack(">H", len(address)) + address + m.random(1120)
    yield 22, "log-page", m.plain[LOG]
    leaf = sample_leaf(m)
    yield 23, "leaf", leaf.encode()
    note = "example.com/log\n20\n%s\n\n\u2014 example.com/log %s\n" % (b64(m.random(32)), b64(m.random(68)))
    yield 24, "checkpoint", note.encode()
    yield 24, "log-proof", ("c2sp.org/tlog-proof@v1\nindex 9\n%s\n\n%s" % (b64(m.random(32)), note)).encode()
    yield 24, "verifier-key", b"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    yield 25, "bundle", b"".join(struct.pack(">H", len(leaf)) + leaf for leaf in leaves)
    with open(os.path.join(os.path.dirname(__file__), "certificates", "good.erased"), "rb") as f:
        yield 26, "certificate", f.read()
    root = struct.pack(">Q", 9) + m.random(16)
    owner = m.random(16) + struct.pack(">Q", 3) + m.random(16)
    share = root + b"\3" + m.random(32) + m.random(64) + m.random(5 * 32)
    yield 27, "deposit", b"\1" + m.store + owner + share
    yield 27, "load", b"\2" + m.store + m.random(32)
    yield 27, "retire", b"\3" + m.store + owner + root + struct.pack(">QB", 7, 1) + struct.pack(">Q", 10) + m.random(16)
    yield 27, "claim", b"\4" + m.store + owner + struct.pack(">Q", 7)
    yield 27, "held", struct.pack(">QQ", 8, 7) + b"\1" + owner + b"\2" + share + share
    yield 6, "slot", slot(1, m.store, 1, m.attempt, m.root_key, m.random(512))
    yield 7, "id", id
    yield 8, "id-text", base64.b32hexencode(id).lower()
    yield 9, "frame", frame(1, 0, (1, 0), 0, [(m.random(16), b"blob")], ((1, 1), b"head"))
    yield 10, "sealed", seal(bytes([7]) * 32, m.random(24), b"context", b"plaintext")
    labelled = {0: ("2026/11/26/wake.wav", {"device": "kitchen", "said": ""}), 2: ("a", {})}
    few = Maker("labels")
    few.user("ada", records, labels=labelled)
    yield 3, "user-labels", few.plain[USER]
    apart = Maker("labels apart")
    apart.user("ada", records, labels=labelled, apart=("audio", "action"))
    yield 3, "user-labels-apart", apart.plain[USER]
    yield 5, "entry-labelled", texts + entry(secret, 0, 0, 0, varint(513) + m.random(16), False, True, True, True, m.random(32))
    yield 29, "names", apart.plain[NAMES]
    yield 29, "names-interior", b"\1" + struct.pack(">H", 2) + text("a") + m.random(48) + text("b") + m.random(48)
    yield 30, "label", label_pieces(b"", *labelled[0])[b"\0"]


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "list":
        tree = Tree(Store(sys.argv[2]), cell(sys.argv[3]))
        for record in tree.records():
            content = record.pop("content")
            record["sha256"] = content if content is None else hashlib.sha256(content).hexdigest()
            print(json.dumps(record, sort_keys=True))
    elif len(sys.argv) == 4 and sys.argv[1] == "uploads":
        for upload in Tree(Store(sys.argv[2]), cell(sys.argv[3])).uploads():
            upload["sha256"] = hashlib.sha256(upload.pop("content")).hexdigest()
            print(json.dumps(upload, sort_keys=True))
    elif len(sys.argv) == 4 and sys.argv[1] == "head":
        tree = Tree(Store(sys.argv[2]), cell(sys.argv[3]))
        print(json.dumps({"store": tree.id.hex(), "realm": tree.realm.hex(), "segment": tree.segment}))
    elif len(sys.argv) == 3 and sys.argv[1] == "vectors":
        for name, vector in vectors():
            with open(os.path.join(sys.argv[2], name + ".json"), "w") as f:
                json.dump(vector, f, indent=1, sort_keys=True)
                f.write("\n")
    elif len(sys.argv) == 3 and sys.argv[1] == "seeds":
        for which, name, data in seeds():
            with open(os.path.join(sys.argv[2], "well-formed-" + name), "wb") as f:
                f.write(bytes([which]) + data)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
