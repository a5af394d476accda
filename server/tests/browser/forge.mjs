// Certificates with every outcome, and false ones: signed by keys of the test's own, so that what a reader
// refuses is refused for what it says and not for its signature.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import "../../assets/verify.js";

const { headOf, judge, leafOf } = globalThis.keyfall;
const METHOD = /"method": (".*"),\n/;
const ALGORITHMS = /"algorithms": (".*"),\n/;
const VERIFICATION = /"verification": (".*"),\n/;

/** JSON as it stands here, for what no value of JavaScript is written as. */
export class Raw {
  constructor(text) {
    this.text = text;
  }
}

/** A generator whose numbers follow from its seed. */
export class Dice {
  constructor(seed) {
    this.state = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
  }

  below(n) {
    const mask = (1n << 64n) - 1n;
    this.state = (this.state + 0x9e3779b97f4a7c15n) & mask;
    let z = this.state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return Number((z ^ (z >> 31n)) % BigInt(n));
  }

  of(items) {
    return items[this.below(items.length)];
  }

  bytes(n) {
    return Buffer.from(Array.from({ length: n }, () => this.below(256)));
  }
}

export const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const nodeHash = (left, right) => sha256("\u0001", left, right);
export const leafHash = (leaf) => sha256("\0", leaf);

/** An Ed25519 key made of a word. */
export class Key {
  constructor(word) {
    const seed = sha256(word);
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
    this.private = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const spki = createPublicKey(this.private).export({ format: "der", type: "spki" });
    this.public = spki.subarray(spki.length - 32);
  }

  sign(text) {
    return sign(null, Buffer.from(text), this.private);
  }

  id(name, kind = 1) {
    return sha256(name, "\n", Buffer.from([kind]), this.public).subarray(0, 4);
  }

  line(name, text) {
    return `— ${name} ${base64(Buffer.concat([this.id(name), this.sign(text)]))}\n`;
  }
}

function treeHash(hashes) {
  if (hashes.length === 1) return hashes[0];
  const k = 2 ** Math.ceil(Math.log2(hashes.length) - 1);
  return nodeHash(treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k)));
}

function pathOf(hashes, index) {
  if (hashes.length === 1) return [];
  const k = 2 ** Math.ceil(Math.log2(hashes.length) - 1);
  return index < k
    ? [...pathOf(hashes.slice(0, k), index), treeHash(hashes.slice(k))]
    : [...pathOf(hashes.slice(k), index - k), treeHash(hashes.slice(0, k))];
}

// --- JSON in the certificate's spelling

const UNSEEN =
  /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

function quoted(text) {
  const number = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(UNSEEN, (c) => c.split("").map(number).join(""));
}

export function write(value, indent) {
  if (value instanceof Raw) return value.text;
  if (typeof value === "string") return quoted(value);
  if (value === null || typeof value !== "object") return String(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const inner = indent === null ? null : `${indent}  `;
  const items = Array.isArray(value)
    ? value.map((item) => write(item, inner))
    : Object.entries(value).map(([k, v]) => `${quoted(k)}:${indent === null ? "" : " "}${write(v, inner)}`);
  if (items.length === 0) return open + close;
  if (indent === null) return open + items.join(",") + close;
  return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}

// --- Facts

/** What a certificate of `good`'s kind says, to be changed and then bound. */
export function facts(good) {
  const [, method] = METHOD.exec(good);
  const [, algorithms] = ALGORITHMS.exec(good);
  const [, verification] = VERIFICATION.exec(good);
  return {
    body: {
      engine: "keyfall 0.1.0",
      format: 1,
      store: "532deabf88729cb43995ab5a9cd49bf9",
      user: "ada",
      scope: "class audio",
      requested: "2026-01-01T00:00:00.035Z",
      authority: "ada herself",
      ground: "GDPR, article 17",
      method: JSON.parse(method),
      algorithms: JSON.parse(algorithms),
      verification: JSON.parse(verification),
      epoch: 4,
      commit: 8,
      pending_until: null,
      destroyed: [{ what: "root key", commitment: base64(sha256("old root")) }],
      records: { audio: 2, transcript: 1 },
      derived: 0,
      following: false,
      kept: [],
      holds: 0,
      openings: 0,
      grants: 0,
      copies: { in_step: 0, behind: 0 },
      cell: {
        kind: "file",
        level: "L0",
        statement: "the key is overwritten in its file",
        remnants: false,
        keyholders: null,
        earlier: [],
      },
    },
    opening: base64(sha256("opening")),
    slot: { index: 3, of: 16, path: [] },
    leaf: [],
    outcome: {
      issued: "2026-01-01T00:00:00.038Z",
      retired: "destroyed",
      discarded: false,
      partly: false,
      copies_skipped: 0,
    },
    final_leaf: null,
  };
}

export const SIGNER = new Key("signer");
export const ATTEMPT = "f71527482fdc2b2787f689246064f298";
export const HOLDERS = ["a", "b", "c", "d", "e"].map((word) => new Key(word));

export const group = (keys, threshold, liars) => {
  return { threshold, liars, keys: keys.map((key) => base64(key.public)) };
};

export function statement(holder, { store }, epoch, attempt = ATTEMPT, time = 1767225600000) {
  const said = `keyfall/retirement@v1\nstore ${store}\nkeeps-only epoch ${epoch} attempt ${attempt}\ntime ${time}\n`;
  return { keyholder: base64(holder.public), epoch, attempt, time, signature: base64(holder.sign(said)) };
}

/** The slot, its path and the leaf, as the body has them. */
export function bind(of, waits = null) {
  const { body, slot } = of;
  const slots = Array.from({ length: slot.of }, (_, i) => sha256(`slot ${i}`));
  slots[slot.index] = sha256("keyfall/erasure@v1\0", Buffer.from(of.opening, "base64"), write(body, null));
  const hashes = slots.map(leafHash);
  slot.path = pathOf(hashes, slot.index).map(base64);
  const next = waits ? `until ${waits}` : `next ${ATTEMPT} ${base64(sha256("next root"))}`;
  of.leaf = [
    "keyfall/erase@v1",
    `commit ${write(body.commit, null)}`,
    `epoch ${write(body.epoch, null)}`,
    "time 2026-01-01T00:00:00Z",
    `erases ${slot.of} ${base64(treeHash(hashes))}`,
    `destroys ${body.destroyed[0]?.commitment ?? base64(sha256("none"))}`,
    next,
    `cell ${base64(sha256(write(body.cell, null)))}`,
    `signer ${base64(SIGNER.public)}`,
  ];
  return of;
}

/** The leaf of the commit that ended the epoch of an erase that waited. */
export function ender(of, commit) {
  const leaf = [...of.leaf];
  leaf[1] = `commit ${commit}`;
  leaf[3] = "time 2026-01-01T01:00:00Z";
  leaf[4] = `erases 16 ${base64(sha256("other slots"))}`;
  leaf[6] = `next ${ATTEMPT} ${base64(sha256("next root"))}`;
  return leaf;
}

// --- The file

/** How the files around the facts are made; each part can be replaced. */
export const PLAN = {
  origin: "keyfall.invalid/532deabf88729cb43995ab5a9cd49bf9",
  log: new Key("log"),
  others: 5,
  index: 2,
  finalIndex: 4,
  extensions: [],
  noteLines: (text, origin) => SIGNER.line(origin, text),
  checkpointLines: (text, origin, log) => log.line(origin, text),
  head: (head) => head,
  json: (json) => json,
};

export async function certificate(of, changes = {}) {
  const plan = { ...PLAN, ...changes };
  const { origin, log } = plan;
  const head = plan.head(headOf(...(await judgedOf(of))));
  const text = `${head}\nkeyfall/certificate@v1\n${plan.json(write(of, ""))}\n`;
  const hashes = Array.from({ length: plan.others }, (_, i) => leafHash(`other ${i}`));
  const leaves = [[plan.index, of.leaf], ...(of.final_leaf ? [[plan.finalIndex, of.final_leaf]] : [])];
  for (const [index, leaf] of leaves) hashes[index] = leafHash(leaf.map((line) => `${line}\n`).join(""));
  const lines = [origin, hashes.length, base64(treeHash(hashes)), ...plan.extensions];
  const checkpoint = `${lines.join("\n")}\n`;
  const proofs = leaves.map(([index]) => {
    const path = pathOf(hashes, index).map((hash) => `${base64(hash)}\n`);
    const signed = `${checkpoint}\n${plan.checkpointLines(checkpoint, origin, log)}`;
    return `\nc2sp.org/tlog-proof@v1\nindex ${index}\n${path.join("")}\n${signed}`;
  });
  return `${text}\n${plan.noteLines(text, origin)}${proofs.join("")}`;
}

export function verifierKey(plan = PLAN) {
  const { origin, log } = plan;
  const key = base64(Buffer.concat([Buffer.from([1]), log.public]));
  return `${origin}+${log.id(origin).toString("hex")}+${key}`;
}

/** The facts as the reader has them, and its judgement: the gravest that its words allow, where it refuses. */
async function judgedOf(of) {
  const read = numbered(of);
  const { records } = read.body;
  read.body.records = records && typeof records === "object" ? Object.entries(records) : records;
  read.outcome.retired = retiredOf(read.outcome.retired);
  try {
    const [leaf, final] = [leafOf(of.leaf), of.final_leaf && leafOf(of.final_leaf)];
    return [read, await judge(read, leaf, final)];
  } catch {
    const came = "The cell said that the key at the top that reached it is destroyed.";
    return [read, { grade: "FINAL", outcome: came, reasons: [] }];
  }
}

function retiredOf(retired) {
  if (typeof retired === "string") return { word: retired };
  return { word: Object.keys(retired ?? {})[0], ...retired };
}

function numbered(value) {
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (value instanceof Raw) return /^[0-9]+$/.test(value.text) ? BigInt(value.text) : value.text;
  if (Array.isArray(value)) return value.map(numbered);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, numbered(v)]));
}
