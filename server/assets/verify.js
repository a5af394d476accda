/* Checks an erasure certificate of Keyfall with the public key of its log and nothing else: no server is
 * asked, and no other file is read. It is written from SPEC.md, sections 13 to 15, and needs a browser, or
 * Node, whose WebCrypto knows Ed25519. Cosignatures of witnesses are read over: keyfall-verify counts them.
 *
 *   keyfall.verify(bytes, key) -> Promise of {grade, outcome, level, words, reasons, body, issued}
 *
 * where the promise is rejected with keyfall.Refused, the certificate does not hold.
 */
(() => {
  "use strict";

  class Refused extends Error {}

  const FILE_MAX_BYTES = 1 << 20;
  const NOTE_MAX_SIGNATURES = 64;
  const PATH_MAX_HASHES = 63;
  const LEAF_MAX_BYTES = 440;
  const U64_MAX = (1n << 64n) - 1n;
  const RFC_3339_MAX = 253402207200999n;
  const METHOD =
    "cryptographic erase (NIST SP 800-88r2 names it; no conformance is claimed): the data's keys are wrapped " +
    "by a path of keys with one at the top, the path was rekeyed, and the old key at the top is sanitized";
  const ALGORITHMS =
    "AES-256-GCM with HKDF-SHA-512 (C2SP chunked-encryption); HMAC-SHA-256, HKDF-SHA-256, SHA-256; Ed25519";
  const VERIFICATION =
    "before the old key at the top was given up, the new pages were read back from the store and from every " +
    "copy in step, and opened";
  const LEVELS = {
    L0: "overwritten by the machine that used it; remnants on its medium, and snapshots of it, are possible",
    L1: "erased by the device that held it, as far as its maker is right about the device",
    L2:
      "destroyed inside a key service, after the delay that it states, as far as its operator is right about " +
      "its backups",
    L3:
      "its shares destroyed by keyholders, gone while fewer than the threshold of them kept theirs, against " +
      "what they signed",
  };
  const CLOSING = `\
What this does not show: that nobody copied keys or plaintext before; that the operator ran this software
unmodified; that the scope was all there was about somebody. Whoever shows a key that gives one of the commitments
below has shown it false. Not gone with the erase: ciphertext until it is discarded, and what its size and its
time tell; the record ids that others hold; that somebody was erased, to whoever guesses the name.
`;
  // y of the points of order 8, beside 0, 1 and p - 1; and p itself.
  const P = (1n << 255n) - 19n;
  const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
  const SMALL_ORDER = [0n, 1n, P - 1n, Y8, P - Y8];

  function check(holds, otherwise) {
    if (!holds) throw new Refused(otherwise);
  }

  async function verify(bytes, key) {
    check(bytes.length <= FILE_MAX_BYTES, "the file is larger than a certificate can be");
    const file = parse(decoded(bytes));
    const log = await logKey(key);
    const leaf = leafOf(file.facts.leaf);
    const final = file.facts.final_leaf && leafOf(file.facts.final_leaf);
    await checkSlot(file, leaf);
    checkFinal(file, leaf, final);
    await checkSigned(file, leaf, final, log);
    checkCell(file.facts, leaf, final);
    const judged = await judge(file.facts, leaf, final);
    const head = headOf(file.facts, judged);
    check(file.head === head, "the words at the top are not what the facts below say");
    const { body, outcome } = file.facts;
    return { ...judged, level: body.cell.level, words: LEVELS[body.cell.level], body, issued: outcome.issued };
  }

  // --- The file: 14.1, 14.2

  function parse(text) {
    const marker = "\nkeyfall/certificate@v1\n";
    const end = text.indexOf(`\n${marker}`);
    check(end >= 0, "it is no certificate");
    const reader = new Reader(text, end + 1 + marker.length);
    const facts = FACTS(reader);
    reader.take("\n\n");
    const signed = text.slice(0, reader.at - 1);
    const signatures = signaturesOf(reader);
    reader.take("\n");
    const proofs = [proofOf(reader)];
    if (reader.next("\n")) proofs.push(proofOf(reader));
    check(reader.at === text.length, "something follows the certificate");
    const { bodyText, cellText } = reader;
    return { head: text.slice(0, end + 1), facts, signed, signatures, proofs, bodyText, cellText };
  }

  /** A cursor over text that has one spelling: whatever it does not expect is refused. */
  class Reader {
    constructor(text, at) {
      Object.assign(this, { text, at, indent: "" });
    }

    next(literal) {
      const here = this.text.startsWith(literal, this.at);
      if (here) this.at += literal.length;
      return here;
    }

    take(literal) {
      check(this.next(literal), `it is not written as a certificate is, at character ${this.at}`);
    }

    /** What a sticky pattern matches here. */
    match(pattern) {
      pattern.lastIndex = this.at;
      const found = pattern.exec(this.text);
      check(found, `it is not written as a certificate is, at character ${this.at}`);
      this.at = pattern.lastIndex;
      return found[0];
    }

    line() {
      const end = this.text.indexOf("\n", this.at);
      check(end >= 0, "it breaks off");
      const line = this.text.slice(this.at, end);
      this.at = end + 1;
      return line;
    }

    several(open, close, item) {
      this.take(open);
      if (this.next(close)) return;
      const outer = this.indent;
      this.indent += "  ";
      do {
        this.take(`\n${this.indent}`);
        item();
      } while (this.next(","));
      this.indent = outer;
      this.take(`\n${outer}${close}`);
    }
  }

  const number = (reader) => {
    const value = BigInt(reader.match(/0|[1-9][0-9]{0,19}/y));
    check(value <= U64_MAX, "a number is too large");
    return value;
  };
  const boolean = (reader) => reader.match(/true|false/y) === "true";
  const string = (reader) => {
    const { text, at } = reader;
    reader.take('"');
    while (!reader.next('"')) {
      check(reader.at < text.length && text[reader.at] !== "\n", "a text does not end");
      reader.at += text[reader.at] === "\\" ? 2 : 1;
    }
    const token = text.slice(at, reader.at);
    let value = null;
    try {
      value = JSON.parse(token);
    } catch {
      check(false, "a text is not written as JSON has it");
    }
    check(quoted(value) === token, "a text is not written as a certificate has it");
    return value;
  };
  const such = (test, what) => (reader) => {
    const value = string(reader);
    check(test(value), `${JSON.stringify(value)} is not ${what}`);
    return value;
  };
  const upTo = (limit) => such((value) => utf8(value).length <= limit, "as short as it must be");
  const exactly = (text) => such((value) => value === text, "the text that belongs there");
  const time = such((value) => millis(value) !== null, "a time");
  const hash = such((value) => unbase64(value)?.length === 32, "32 bytes in base64");
  const hex16 = such((value) => /^[0-9a-f]{32}$/.test(value), "16 bytes in hexadecimal");
  const orNull = (of) => (reader) => (reader.next("null") ? null : of(reader));
  const list = (of) => (reader) => {
    const items = [];
    reader.several("[", "]", () => items.push(of(reader)));
    return items;
  };
  const object = (members) => (reader) => {
    const [names, value] = [Object.keys(members), {}];
    reader.several("{", "}", () => {
      const name = names.shift();
      check(name !== undefined, "there is a member too many");
      reader.take(`"${name}": `);
      value[name] = members[name](reader);
    });
    check(names.length === 0, "a member is missing");
    return value;
  };
  /** Counts by class, as pairs. */
  const counts = (reader) => {
    const pairs = [];
    reader.several("{", "}", () => {
      const name = CLASS(reader);
      reader.take(": ");
      pairs.push([name, number(reader)]);
    });
    const rises = pairs.every(([name], i) => i === 0 || pairs[i - 1][0] < name);
    check(rises, "the classes are out of order");
    return pairs;
  };
  /** What `of` reads, and its compact JSON under a name of the reader's. */
  const compacted = (name, of) => (reader) => {
    const from = reader.at;
    const value = of(reader);
    reader[name] = reader.text.slice(from, reader.at).replace(/("(?:[^"\\]|\\.)*")|[ \n]+/g, "$1");
    return value;
  };

  const CLASS = such((value) => /^[a-z][a-z0-9._-]{0,31}$/.test(value), "a class");
  const KEYHOLDERS = object({ threshold: number, liars: number, keys: list(hash) });
  const CELL = object({
    kind: string,
    level: such((value) => Object.hasOwn(LEVELS, value), "a level"),
    statement: string,
    remnants: boolean,
    keyholders: orNull(KEYHOLDERS),
    earlier: list(object({ epoch: number, keyholders: KEYHOLDERS })),
  });
  const BODY = object({
    engine: string,
    format: (reader) => reader.match(/1(?=,)/y),
    store: hex16,
    user: orNull(such((value) => value !== "" && utf8(value).length <= 512, "the name of a user")),
    scope: string,
    requested: time,
    authority: upTo(80),
    ground: upTo(255),
    method: exactly(METHOD),
    algorithms: exactly(ALGORITHMS),
    verification: exactly(VERIFICATION),
    epoch: number,
    commit: number,
    pending_until: orNull(time),
    destroyed: list(object({ what: string, commitment: hash })),
    records: orNull(counts),
    derived: number,
    following: boolean,
    kept: list(object({ class: CLASS, reason: upTo(255) })),
    holds: number,
    openings: orNull(number),
    grants: orNull(number),
    copies: object({ in_step: number, behind: number }),
    cell: compacted("cellText", CELL),
  });
  const STATEMENT = object({
    keyholder: hash,
    epoch: number,
    attempt: hex16,
    time: number,
    signature: such((value) => unbase64(value)?.length === 64, "a signature"),
  });
  const retired = (reader) => {
    if (reader.next('"waiting"')) return { word: "waiting" };
    if (reader.next('"destroyed"')) return { word: "destroyed" };
    const scheduled = reader.text.startsWith(`{\n${reader.indent}  "scheduled"`, reader.at);
    const of = scheduled ? object({ scheduled: time }) : object({ stated: list(STATEMENT) });
    return { word: scheduled ? "scheduled" : "stated", ...of(reader) };
  };
  const FACTS = object({
    body: compacted("bodyText", BODY),
    opening: hash,
    slot: object({ index: number, of: number, path: list(hash) }),
    leaf: list(string),
    outcome: object({
      issued: time,
      retired,
      discarded: boolean,
      partly: boolean,
      copies_skipped: number,
    }),
    final_leaf: orNull(list(string)),
  });

  // --- Leaves, notes, proofs: 13.2 to 13.4

  function leafOf(lines) {
    const text = lines.map((line) => `${line}\n`).join("");
    const pattern =
      "^keyfall/erase@v1\ncommit (D)\nepoch (D)\ntime (.+)\nerases (D) (H)\ndestroys (H)\n" +
      "(?:next ([0-9a-f]{32}) (H)|until (.+))\ncell (H)\nsigner (H)\n$";
    const digits = "0|[1-9][0-9]{0,19}";
    const found = new RegExp(pattern.replaceAll("D", digits).replaceAll("H", "[A-Za-z0-9+/]{43}=")).exec(text);
    check(found && utf8(text).length <= LEAF_MAX_BYTES, "a leaf of the log is not written as one is");
    const [, commit, epoch, at, of, erases, destroys, attempt, next, until, cell, signer] = found;
    const minute = millis(at);
    check(minute !== null && minute % 60000n === 0n, "the time of a leaf is not a minute");
    check(until === undefined || millis(until) !== null, "a leaf waits until what is no time");
    const hashes = [erases, destroys, next, cell, signer].filter((text) => text !== undefined);
    check(hashes.every((text) => unbase64(text)?.length === 32), "a leaf has a hash that is none");
    const [slots, ...numbers] = [of, commit, epoch].map(BigInt);
    check([slots, ...numbers].every((n) => n <= U64_MAX), "a number is too large");
    check(slots >= 16n && (slots & (slots - 1n)) === 0n, "the slots of a leaf are no power of two from 16 on");
    return { text, commit: numbers[0], epoch: numbers[1], slots, erases, destroys, attempt, until, cell, signer };
  }

  /** The lines of a note's signatures, up to the first line that is none. */
  function signaturesOf(reader) {
    const signatures = [];
    while (reader.next("— ")) {
      const [name, base64, ...more] = reader.line().split(" ");
      const blob = unbase64(base64 ?? "");
      check(isName(name) && blob?.length > 4 && more.length === 0, "a line is not a signature");
      signatures.push({ name, id: hexOf(blob.slice(0, 4)), bytes: blob.slice(4) });
    }
    check(signatures.length > 0, "a note is not signed");
    check(signatures.length <= NOTE_MAX_SIGNATURES, "a note has too many signatures");
    return signatures;
  }

  function proofOf(reader) {
    reader.take("c2sp.org/tlog-proof@v1\nindex ");
    const index = number(reader);
    reader.take("\n");
    const path = [];
    while (!reader.next("\n")) {
      const line = reader.line();
      check(unbase64(line)?.length === 32, "a proof has a hash that is none");
      path.push(line);
    }
    check(path.length <= PATH_MAX_HASHES, "a proof is too long");
    const from = reader.at;
    const origin = reader.line();
    const size = number(reader);
    reader.take("\n");
    const root = reader.line();
    check(unbase64(root)?.length === 32, "a checkpoint has a root that is none");
    while (!reader.next("\n")) {
      const line = reader.line();
      check(!/[\u0000-\u001f\u007f-\u009f]/.test(line), "a checkpoint has characters that nobody sees");
    }
    const text = reader.text.slice(from, reader.at - 1);
    return { index, path, text, origin, size, root, signatures: signaturesOf(reader) };
  }

  /** A key of C2SP signed-note: name, hash and what it says, joined by `+`. */
  async function logKey(text) {
    const [, name, id, rest] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text.replace(/^[ \t\n\f\r]+|[ \t\n\f\r]+$/g, "")) ?? [];
    const typed = unbase64(rest ?? "");
    check(isName(name ?? "") && typed?.length === 33 && typed[0] === 1, "the key is not the public key of a log");
    const key = typed.slice(1);
    check((await keyId(name, key)) === id, "the key has a letter that is wrong");
    return { name, id, key };
  }

  const isName = (text) => text !== "" && !/[\p{White_Space}\p{Cc}+]/u.test(text) && utf8(text).length <= 255;

  const keyId = async (name, key) => hexOf((await sha256(`${name}\n\u0001`, key)).slice(0, 4));

  // --- Verification: 14.5

  async function checkSlot({ facts, bodyText, cellText }, leaf) {
    const { body, slot } = facts;
    const commitment = await sha256("keyfall/erasure@v1\0", unbase64(facts.opening), bodyText);
    check(slot.of === leaf.slots, "the leaf has another number of slots");
    const root = await rootOver(commitment, slot.index, slot.of, slot.path);
    check(root === leaf.erases, "what was erased is not what the leaf stands for");
    check(body.commit === leaf.commit && body.epoch === leaf.epoch, "the leaf is of another commit");
    const [top] = body.destroyed;
    check(top?.what === "root key" && top.commitment === leaf.destroys, "the leaf destroys another key");
    check(body.pending_until === (leaf.until ?? null), "the leaf waits until another time");
    check(base64(await sha256(cellText)) === leaf.cell, "the cell is not the one of the leaf");
  }

  function checkFinal({ proofs, facts }, leaf, final) {
    check(proofs.length === (final ? 2 : 1), "there are not as many proofs as leaves");
    if (!final) return;
    check(leaf.until !== undefined && final.until === undefined, "a leaf makes nothing final that does not wait");
    check(final.epoch === leaf.epoch && final.destroys === leaf.destroys, "the second leaf is of another epoch");
    check(final.commit > leaf.commit, "the second leaf is not later");
    check(proofs[1].index > proofs[0].index, "the second leaf does not stand after the first");
    check(proofs[0].text === proofs[1].text, "the two proofs are of different checkpoints");
  }

  async function checkSigned({ signed, signatures, proofs }, leaf, final, log) {
    const signer = { name: log.name, id: await keyId(log.name, unbase64(leaf.signer)), key: unbase64(leaf.signer) };
    await checkNote(signed, signatures, signer, "the certificate");
    for (const [i, of] of [leaf, ...(final ? [final] : [])].entries()) {
      const { index, size, path, root, origin, text, signatures } = proofs[i];
      check(origin === log.name, "it is of another log than the key");
      check((await rootOver(of.text, index, size, path)) === root, "the leaf is not in the log");
      await checkNote(text, signatures, log, "the checkpoint");
    }
  }

  /** That a key signed a note, once; what others signed beside it says nothing. */
  async function checkNote(text, signatures, { name, id, key }, what) {
    const own = signatures.filter((signature) => signature.name === name && signature.id === id);
    check(own.length > 0, `${what} is not signed by the key that it should be signed by`);
    check(own.length === 1 && (await isSigned(key, own[0].bytes, text)), `${what} was changed after it was signed`);
  }

  function checkCell({ body, outcome }, leaf, final) {
    const { kind, level, keyholders, earlier } = body.cell;
    const { word } = outcome.retired;
    check(leaf.until === undefined || final || word === "waiting", "the key waits, and something is said of it");
    check(word !== "stated" || keyholders, "there are statements and no keyholders");
    check(word === "waiting" || word === "stated" || !keyholders, "keyholders sign, and nothing is signed");
    check(keyholders || earlier.length === 0, "there are earlier keyholders and none now");
    check((level === "L3") === (keyholders !== null), "the level is not that of the cell");
    check(!["file", "memory"].includes(kind) || level === "L0", "the level is above what the cell can do");
    for (const { threshold: t, liars: f, keys } of [keyholders, ...earlier.map((e) => e.keyholders)].filter(Boolean)) {
      const n = BigInt(keys.length);
      check(n >= 2n && n <= 32n && t >= 2n && t <= n && f < t, "the number of keyholders cannot be");
      check(new Set(keys).size === keys.length, "a keyholder is named twice");
    }
    const falls = earlier.every(({ epoch }, i) => (i === 0 ? epoch < leaf.epoch : epoch <= earlier[i - 1].epoch));
    check(falls, "the earlier epochs are out of order");
  }

  /** Checks what keyholders stated, and works out the grade, with the reasons for it. */
  async function judge({ body, outcome }, leaf, final) {
    const { retired } = outcome;
    const waits = leaf.until !== undefined && !final;
    const pending = [];
    if (waits) {
      pending.push(
        `the old root key waits for other erases, until ${body.pending_until} at the latest: until then who ` +
          "holds the cell and old copies can read what it names",
      );
    } else if (retired.word === "waiting") {
      pending.push(
        "the cell has not said yet that the old root key is destroyed: until then who has access to it can " +
          "read what it names",
      );
    } else if (retired.word === "scheduled") {
      pending.push(
        `the cell destroys the old root key at ${retired.scheduled}: until then who has access to it can read ` +
          "what it names",
      );
    } else if (retired.word === "stated") {
      pending.push(...(await lacking(body, retired.stated, (final ?? leaf).attempt)));
    }
    const limits = limitsOf(body);
    const grade = pending.length > 0 ? "PENDING" : limits.length > 0 ? "LIMITED" : "FINAL";
    return { grade, outcome: outcomeOf(grade, retired.word), reasons: [...pending, ...limits] };
  }

  /** For each root key of which too few have stated, that they are too few. */
  async function lacking({ cell, store, epoch }, stated, attempt) {
    const follows = epoch + 1n;
    check(follows <= U64_MAX, "no epoch can follow its own");
    const now = (s) => s.epoch > follows || (s.epoch === follows && s.attempt === attempt);
    const roots = [
      { keyholders: cell.keyholders, counts: now, key: "the old root key" },
      ...cell.earlier.map(({ epoch: e, keyholders }) => {
        return { keyholders, counts: (s) => s.epoch > e, key: `the root key of epoch ${e}, which reached it too` };
      }),
    ].map((root) => ({ ...root, found: 0 }));
    check(new Set(stated.map((s) => s.keyholder)).size === stated.length, "a keyholder states twice");
    for (const statement of stated) {
      const said =
        `keyfall/retirement@v1\nstore ${store}\nkeeps-only epoch ${statement.epoch} attempt ${statement.attempt}\n` +
        `time ${statement.time}\n`;
      const holds = await isSigned(unbase64(statement.keyholder), unbase64(statement.signature), said);
      check(holds, "a keyholder did not sign what it is said to have stated");
      const counting = roots.filter((root) => {
        return root.keyholders.keys.includes(statement.keyholder) && root.counts(statement);
      });
      check(counting.length > 0, "a statement counts for nothing");
      for (const root of counting) root.found += 1;
    }
    return roots.flatMap(({ keyholders: { threshold, liars, keys }, found, key }) => {
      const needed = BigInt(keys.length) - threshold + 1n + liars;
      const words =
        `${found} of the ${needed} statements that are needed, by ${keys.length} keyholders, are there: until ` +
        `then ${threshold} of them may have enough shares of ${key}`;
      return BigInt(found) < needed ? [words] : [];
    });
  }

  function limitsOf({ cell, openings, grants, records, following }) {
    const when = (holds, words) => (holds ? [words] : []);
    return [
      ...when(
        cell.remnants,
        "the owner accepted a medium that is known to keep old bytes: the old root key may be left on it",
      ),
      ...when(
        cell.kind === "memory",
        "the root key was in the memory of a process, which may have been written elsewhere",
      ),
      ...when(
        openings > 0n,
        `records of this user had been opened ${openings} times by somebody named, before: what they took with ` +
          "them is out of reach",
      ),
      ...when(openings === null, "damaged pages hide who had opened records before"),
      ...when(grants > 0n, `${grants} grants to third parties stood: what they opened before is out of reach`),
      ...when(records === null, "damaged pages kept the records from being counted; none of them can be read"),
      ...when(
        following,
        "entries (not the content) of records derived from it, by this erase or an earlier one, were still in lists",
      ),
    ];
  }

  function outcomeOf(grade, word) {
    if (grade === "PENDING") return "The key at the top that reached it is not known to be destroyed yet.";
    return word === "stated"
      ? "As many keyholders as are needed signed that their share of the key at the top that reached it is gone."
      : "The cell said that the key at the top that reached it is destroyed.";
  }

  // --- The head: 14.3

  function headOf({ body, outcome }, { grade, outcome: came, reasons }) {
    const when = (holds, line) => (holds ? [line] : []);
    const { cell, copies, records } = body;
    const counted = records?.map(([name, n]) => `${n} ${plain(name)}`).join(", ") || "none was there";
    const { discarded, partly, copies_skipped: skipped } = outcome;
    const ciphertext = discarded
      ? "discarded from the store"
      : partly
        ? "discarded from the store in part, what may be left is unreadable"
        : "not discarded from the store yet, and unreadable";
    const lines = [
      "Keyfall erasure certificate",
      "",
      `Grade: ${grade}`,
      `  ${came}`,
      `  Level ${cell.level}: ${LEVELS[cell.level]}`,
      ...reasons.map((reason) => `  - ${reason}`),
      "",
      "What was erased",
      ...when(body.user !== null, `  User: ${quoted(body.user ?? "")}`),
      `  Scope: ${quoted(body.scope)}`,
      `  Records: ${records === null ? "not counted" : counted}`,
      `  Derived records that fell with this commit: ${body.derived}`,
      ...body.kept.map((kept) => `  Kept: class ${plain(kept.class)}, because ${quoted(kept.reason)}`),
      ...when(body.holds > 0n, `  Holds on other records of this user: ${body.holds}`),
      "",
      "When, for whom, why",
      `  Asked for: ${body.requested}`,
      ...when(body.authority !== "", `  By: ${quoted(body.authority)}`),
      ...when(body.ground !== "", `  Ground: ${quoted(body.ground)}`),
      `  Issued: ${outcome.issued}`,
      "",
      "How",
      `  Method: ${body.method}`,
      `  Algorithms: ${body.algorithms}`,
      `  Looked at: ${body.verification}`,
      `  Root cell: ${plain(cell.kind)}; ${quoted(cell.statement)}`,
      `  Store ${plain(body.store)}, epoch ${body.epoch}, commit ${body.commit}; by ${quoted(body.engine)}`,
      `  Copies: ${copies.in_step} in step, ${copies.behind} behind; for the erased to be gone from them they ` +
        "need nothing",
      `  Ciphertext: ${ciphertext}${skipped > 0n ? `; ${skipped} copies were passed over` : ""}`,
      "",
      CLOSING,
    ];
    return lines.join("\n");
  }

  const plain = (text) => (/^[A-Za-z0-9._-]+$/.test(text) ? text : quoted(text));

  /** A text as the JSON and the head have it: what is not seen where it stands is written as a number. */
  function quoted(text) {
    const unseen =
      /["\\\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
    const short = { '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
    const numbered = (c) => [...Array(c.length).keys()].map((i) => `\\u${hex(c.charCodeAt(i), 4)}`).join("");
    return `"${text.replace(unseen, (c) => short[c] ?? numbered(c))}"`;
  }

  // --- Bytes

  const hex = (n, width) => n.toString(16).padStart(width, "0");
  const hexOf = (bytes) => Array.from(bytes, (byte) => hex(byte, 2)).join("");
  const utf8 = (text) => new TextEncoder().encode(text);
  const base64 = (bytes) => btoa(String.fromCharCode(...bytes));

  function decoded(bytes) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Refused("it is not text");
    }
  }

  /** The bytes of a text in base64, or null: of each bytes there is one text. */
  function unbase64(text) {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return null;
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return base64(bytes) === text ? bytes : null;
  }

  /** A time as 13.3 writes it, in milliseconds, or null. */
  function millis(text) {
    if (/^[1-9][0-9]{0,19} ms$/.test(text)) {
      const far = BigInt(text.slice(0, -3));
      return far > RFC_3339_MAX && far <= U64_MAX ? far : null;
    }
    if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z$/.test(text)) return null;
    const at = Date.parse(text);
    const written = Number.isNaN(at) ? "" : new Date(at).toISOString().replace(/\.?0+Z$/, "Z");
    return written === text && at >= 0 && BigInt(at) <= RFC_3339_MAX ? BigInt(at) : null;
  }

  async function sha256(...parts) {
    const bytes = parts.map((part) => (typeof part === "string" ? utf8(part) : part));
    const all = new Uint8Array(bytes.reduce((n, part) => n + part.length, 0));
    bytes.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  }

  /** The root, in base64, that a leaf and its path lead to: RFC 9162, 2.1.3.2. */
  async function rootOver(leaf, index, size, path) {
    check(index < size, "a place lies outside its tree");
    let [hash, at, last] = [await sha256("\0", leaf), index, size - 1n];
    for (const beside of path.map(unbase64)) {
      check(last > 0n, "a path is too long");
      if ((at & 1n) === 1n || at === last) {
        hash = await sha256("\u0001", beside, hash);
        while ((at & 1n) === 0n && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
      } else {
        hash = await sha256("\u0001", hash, beside);
      }
      [at, last] = [at >> 1n, last >> 1n];
    }
    check(last === 0n, "a path is too short");
    return base64(hash);
  }

  /** Ed25519, strictly: no point of small order, and no encoding that is not canonical. */
  async function isSigned(key, signature, text) {
    if (signature.length !== 64 || !isSound(key) || !isSound(signature.slice(0, 32))) return false;
    try {
      const public_ = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
      return await crypto.subtle.verify("Ed25519", public_, signature, utf8(text));
    } catch (e) {
      if (e.name === "NotSupportedError") throw e;
      return false;
    }
  }

  function isSound(point) {
    const y = BigInt(`0x${hexOf(point.slice().reverse())}`) & ((1n << 255n) - 1n);
    return y < P && !SMALL_ORDER.includes(y);
  }

  globalThis.keyfall = { verify, Refused, headOf, judge, leafOf, parse };
})();
