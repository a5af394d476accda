// What is done to certificates so that readers may disagree about them.
import { ATTEMPT, HOLDERS, Key, Raw, SIGNER, bind, certificate, ender, facts, group, statement } from "./forge.mjs";

const UNTIL = "2026-01-02T00:00:00Z";

/** Certificates that hold, of every outcome, each as facts that are bound. */
export function honest(good) {
  const made = (change, waits = null) => {
    const of = facts(good);
    change(of);
    bind(of, waits);
    return of;
  };
  const shared = (of, threshold, liars, holders = HOLDERS) => {
    Object.assign(of.body.cell, { kind: "quorum", level: "L3", statement: "3 of 5 keyholders" });
    of.body.cell.keyholders = group(holders, threshold, liars);
  };
  const stated = (of, count, epoch = 5) => {
    of.outcome.retired = { stated: HOLDERS.slice(0, count).map((holder) => statement(holder, of.body, epoch)) };
  };
  const waited = made((of) => {
    of.body.pending_until = UNTIL;
  }, UNTIL);
  waited.final_leaf = ender(waited, 11);
  const finalStated = made((of) => {
    of.body.pending_until = UNTIL;
    shared(of, 3, 0);
    stated(of, 3);
  }, UNTIL);
  finalStated.final_leaf = ender(finalStated, 11);
  return {
    final: made(() => {}),
    limited: made((of) => {
      Object.assign(of.body, { openings: 3, grants: 1, following: true, holds: 2 });
      of.body.cell.remnants = true;
    }),
    damaged: made((of) => {
      Object.assign(of.body, { openings: null, grants: null, records: null, user: null, authority: "", ground: "" });
    }),
    odd: made((of) => {
      of.body.user = 'Ünïcode 🎤 "\\\u200b\u0007\u{e0041}\u2028';
      of.body.records = {};
      of.body.kept = [{ class: "action", reason: "an alarm\nstays" }];
      Object.assign(of.outcome, { partly: true, copies_skipped: 2 });
    }),
    page: made((of) => {
      of.body.destroyed.push({ what: "key of class audio", commitment: of.opening });
      Object.assign(of.outcome, { discarded: true });
    }),
    waiting: made((of) => {
      of.outcome.retired = "waiting";
    }),
    scheduled: made((of) => {
      Object.assign(of.body.cell, { kind: "service", level: "L2", statement: "after seven days" });
      of.outcome.retired = { scheduled: "2026-01-08T00:00:00Z" };
    }),
    windowed: made((of) => {
      of.body.pending_until = UNTIL;
      of.outcome.retired = "waiting";
    }, UNTIL),
    ended: waited,
    quorum: made((of) => {
      shared(of, 3, 1);
      stated(of, 4);
    }),
    few: made((of) => {
      shared(of, 3, 1);
      stated(of, 2);
    }),
    earlier: made((of) => {
      shared(of, 2, 0, HOLDERS.slice(0, 3));
      of.body.cell.earlier = [
        { epoch: 3, keyholders: group(HOLDERS.slice(1, 4), 2, 0) },
        { epoch: 2, keyholders: group(HOLDERS.slice(2, 5), 2, 0) },
      ];
      of.outcome.retired = { stated: HOLDERS.map((holder) => statement(holder, of.body, 5)) };
    }),
    finalStated,
  };
}

// --- Bytes

const NEARLY = [
  ["FINAL", "LIMITED"],
  ["LIMITED", "FINAL"],
  ["PENDING", "FINAL"],
  ["Level L0", "Level L3"],
  ["true", "false"],
  ["false", "true"],
  ["\n", "\r\n"],
  ["\n", "\n\n"],
  [": ", ":  "],
  ["— ", "- "],
  ["=", ""],
  ["0", "1"],
  ["1", "01"],
  ["null", "0"],
  ["[]", "[ ]"],
  ["audio", "video"],
  ["ada", "bob"],
  ['"destroyed"', '"waiting"'],
  ['"waiting"', '"destroyed"'],
  ["ada", "\\u0061da"],
  [" ", "\u00a0"],
  ["Z", "+00:00"],
];

/** The file with something of its bytes changed. */
export function changed(file, dice) {
  const bytes = Buffer.from(file);
  const at = dice.below(bytes.length);
  const lines = file.split("\n");
  const line = dice.below(lines.length);
  const kinds = [
    () => Buffer.from(bytes).fill(bytes[at] ^ (1 << dice.below(8)), at, at + 1),
    () => Buffer.from(bytes).fill(dice.below(256), at, at + 1),
    () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + dice.below(4))]),
    () => Buffer.concat([bytes.subarray(0, at), dice.bytes(1), bytes.subarray(at)]),
    () => Buffer.concat([bytes.subarray(0, at), dice.of([..." \n\r\t0=\"\\"].map(Buffer.from)), bytes.subarray(at)]),
    () => bytes.subarray(0, at),
    () => Buffer.concat([bytes, dice.of(["\n", " ", "\0", file, "\n— a AAAAAAAA\n"].map((s) => Buffer.from(s)))]),
    () => Buffer.from(lines.toSpliced(line, 1).join("\n")),
    () => Buffer.from(lines.toSpliced(line, 0, lines[line]).join("\n")),
    () => Buffer.from(lines.toSpliced(line, 2, ...lines.slice(line, line + 2).reverse()).join("\n")),
    () => Buffer.from(lines.toSpliced(line, 0, dice.of(lines)).join("\n")),
    () => Buffer.from(replaced(file, ...dice.of(NEARLY), dice)),
    () => Buffer.from(replaced(file, ...dice.of(NEARLY), dice)),
    () => Buffer.from(file.replace(/\d/g, (d) => (dice.below(300) === 0 ? String(dice.below(10)) : d))),
    () => Buffer.from(file.replace(/[a-z]/g, (c) => (dice.below(900) === 0 ? c.toUpperCase() : c))),
  ];
  return dice.of(kinds)();
}

function replaced(file, from, to, dice) {
  const parts = file.split(from);
  if (parts.length < 2) return file;
  const cut = 1 + dice.below(parts.length - 1);
  return parts.slice(0, cut).join(from) + to + parts.slice(cut).join(from);
}

// --- Facts, signed again

const NUMBERS = ["0", "1", "2", "3", "5", "15", "16", "17", "33", "9007199254740993", "18446744073709551615"].concat(
  ["18446744073709551616", "-1", "-0", "1.0", "1e3", "01", "null", "true", '"1"', "[]", "99999999999999999999999"],
);
const TEXTS = [
  "", "a", "audio", "transcript", "root key", "key of the user's page", "file", "memory", "quorum", "tpm", "L0", "L1",
  "L2", "L3", "L4", "waiting", "destroyed", "everything", "x".repeat(32), "x".repeat(33), "x".repeat(80), "x".repeat(81),
  "é".repeat(41), "x".repeat(255), "x".repeat(256), "x".repeat(512), "x".repeat(513), "x".repeat(70000), "-a", "A", "a b",
  "\u0000", "\u0007", "\b\f\n\r\t", "\u007f\u0085\u009f", "\u00ad", "\u061c\u180e", "\u200b\u200f", "\u2028\u202e",
  "\u2060\u206f", "\ufeff", "\ufff9\ufffb", "\u{e0000}\u{e007f}", "\u{e0080}", "\u00a0\u3000", "\u{10ffff}\ufffe", '"\\/',
  "🎤", "e\u0301", "\ud7ff\ue000", "é", "  Grade: FINAL", "1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
  "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.50Z", "2026-01-01T00:00:00.0Z", "2026-01-01T00:00:00.041Z",
  "2026-01-01T00:00:00.0411Z", "2026-01-01T00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "2026-02-30T00:00:00Z",
  "1969-12-31T23:59:59Z", "9999-12-30T22:00:00Z", "9999-12-30T22:00:00.999Z", "9999-12-30T22:00:01Z",
  "9999-12-31T23:59:59Z", "253402207200999 ms", "253402207201000 ms", "18446744073709551615 ms",
  "18446744073709551616 ms", "0253402207201000 ms", "2026-01-01t00:00:00z", "2026-01-01T00:00:00+00:00", "0 ms",
  "+12026-01-01T00:00:00Z", "2026-01-01 00:00:00Z", "532deabf88729cb43995ab5a9cd49bf9", "AAAA", "AAAB=", "A===",
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
  "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "7P///////////////////////////////////////38=",
  "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU=", "7f///////////////////////////////////////38=",
];

/** Every place of a value, as paths of names and indices. */
function places(value, path = []) {
  if (value === null || typeof value !== "object") return [path];
  return [path, ...Object.keys(value).flatMap((name) => places(value[name], [...path, name]))];
}

const at = (of, path) => path.reduce((value, name) => value[name], of);

function put(of, path, value) {
  at(of, path.slice(0, -1))[path.at(-1)] = value;
}

function other(value, dice) {
  if (Array.isArray(value)) {
    const item = value.length > 0 ? dice.of(value) : "audio";
    return dice.of([[], [...value, item], value.slice(1), value.toReversed(), value.slice(0, -1), null, {}]);
  }
  if (value === null) return dice.of([new Raw(dice.of(NUMBERS)), dice.of(TEXTS), [], {}, false, { audio: 1 }]);
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return new Raw(dice.of(NUMBERS));
  if (typeof value === "string") return dice.below(20) === 0 ? new Raw(dice.of(NUMBERS)) : dice.of(TEXTS);
  const entries = Object.entries(value);
  const swapped = dice.below(Math.max(1, entries.length - 1));
  return dice.of([
    Object.fromEntries(entries.slice(1)),
    Object.fromEntries([...entries, ["extra", 1]]),
    Object.fromEntries(entries.toSpliced(swapped, 2, ...entries.slice(swapped, swapped + 2).reverse())),
    Object.fromEntries(entries.map(([k, v], i) => [i === swapped ? `${k}_` : k, v])),
    {},
    null,
  ]);
}

/** Wholes that are plausible, and some of them false. */
function outcomes(of, dice) {
  const { body } = of;
  const keys = () => HOLDERS.slice(0, dice.below(6));
  const holders = () => group(keys(), dice.below(5), dice.below(4));
  const attempt = () => dice.of([ATTEMPT, ATTEMPT, "0".repeat(32)]);
  const states = () => keys().map((key) => statement(key, body, 2 + dice.below(6), attempt()));
  const retired = ["waiting", "destroyed", { scheduled: UNTIL }, "gone", { stated: [] }, null];
  const kinds = [
    () => Object.assign(body.cell, { kind: dice.of(["file", "memory", "quorum", "tpm", ""]) }),
    () => Object.assign(body.cell, { level: dice.of(["L0", "L1", "L2", "L3"]) }),
    () => Object.assign(body.cell, { keyholders: dice.of([null, holders()]) }),
    () => {
      const earlier = () => ({ epoch: dice.below(6), keyholders: holders() });
      body.cell.earlier = Array.from({ length: dice.below(3) }, earlier);
    },
    () => Object.assign(of.outcome, { retired: dice.of(retired) }),
    () => Object.assign(of.outcome, { retired: { stated: states() } }),
    () => Object.assign(of.outcome, { retired: { stated: [...(of.outcome.retired?.stated ?? []), ...states()] } }),
    () => Object.assign(body, { pending_until: dice.of([null, UNTIL, "2026-01-03T00:00:00Z"]) }),
    () => Object.assign(of.slot, { of: dice.of([1, 8, 16, 32, 64]) }),
    () => Object.assign(of.slot, { index: dice.below(16) }),
  ];
  for (let i = dice.below(4); i >= 0; i--) dice.of(kinds)();
}

const LEAF = [
  [0, "keyfall/erase@v2"],
  [1, "commit 08"],
  [1, "commit 9"],
  [2, "epoch 5"],
  [3, "time 2026-01-01T00:00:01Z"],
  [3, "time 2026-01-01T00:00:00.5Z"],
  [3, "time 1970-01-01T00:00:00Z"],
  [3, "time 253402207260000 ms"],
  [3, "time 253402207201000 ms"],
  [3, "time yesterday"],
  [6, "until 2026-01-02T00:00:00Z"],
  [6, "until soon"],
  [6, `next ${ATTEMPT} AAAA`],
  [6, `next ${ATTEMPT.toUpperCase()} AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=`],
  [6, `next ${ATTEMPT} AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=`],
  [6, "next  "],
  [8, "signer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
  [8, "signer"],
  [9, "more"],
  [9, ""],
  [3, `time ${"x".repeat(200)}`],
];

function leaves(of, dice) {
  const lines = of.final_leaf && dice.below(2) === 0 ? of.final_leaf : of.leaf;
  const [at, line] = dice.of(LEAF);
  const kinds = [
    () => (lines[at] = line),
    () => (lines[at] = line),
    () => lines.splice(at, 1),
    () => lines.splice(at, 0, lines[at]),
    () => (of.final_leaf = of.final_leaf ? null : ender(of, 7 + dice.below(4))),
  ];
  dice.of(kinds)();
}

/** Names of keys that are none, and some that are. */
const NAMES = [..."\u0007\t\u000b\u0085\u00a0\u1680\u180e\u200a\u200b\u2028\u202f\u205f\u3000\ufeff+", "é"]
  .map((c) => `a${c}b`)
  .concat(["x".repeat(128), "x".repeat(129), "x".repeat(255), "x".repeat(256), "é".repeat(128)]);

/** What stands around the facts. */
function surroundings(dice) {
  const other = new Key("somebody else");
  const line = (key, name, text) => key.line(name, text);
  const broken = (made) => made.replace(/.{8}=/, "AAAAAAAA=");
  return dice.of([
    { extensions: ["keyfall/pending"] },
    { extensions: ["anything at all", "and more"] },
    { extensions: ["\u0007"] },
    { extensions: [" "] },
    { extensions: ["— a b"] },
    { extensions: ["\u00a0"] },
    { extensions: ["tab\tbed"] },
    { extensions: ["\u0085"] },
    { extensions: ["", "more"] },
    { index: 0 },
    { index: 4, finalIndex: 2 },
    { index: 2, finalIndex: 2 },
    { others: 1, index: 0, finalIndex: 0 },
    { others: 2, index: 0, finalIndex: 1 },
    { others: 200, index: 64, finalIndex: 199 },
    { origin: "example.com/other" },
    { log: other },
    { checkpointLines: (t, o, log) => line(other, "witness.example/w", t) + line(log, o, t) },
    { checkpointLines: (t, o, log) => line(log, o, t) + line(other, "witness.example/w", t) },
    { checkpointLines: (t, o, log) => line(log, o, t) + line(log, o, t) },
    { checkpointLines: (t, o, log) => line(log, o, t) + broken(line(log, o, t)) },
    { checkpointLines: (t, o, log) => line(log, o, t) + line(other, o, t) },
    { checkpointLines: (t, o, log) => line(log, o, `${t}\n`) },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAA\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAAAAAA\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAAAA==\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAAAAA=\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + `— ${dice.of(NAMES)} AAAAAAAA\n` },
    { noteLines: (t, o) => `${line(SIGNER, o, t)}— ${dice.of(NAMES)} ${dice.of(["AAAAAA==", "AAAAAAA="])}\n` },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a+b AAAAAAAA\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a\u00a0b AAAAAAAA\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAAAAAA AAAAAAAA\n" },
    { checkpointLines: (t, o, log) => line(log, o, t) + "— a AAAAAAAA\n".repeat(62 + dice.below(3)) },
    { checkpointLines: () => "— a AAAAAAAA\n" },
    { checkpointLines: () => "" },
    { noteLines: (t, o) => line(SIGNER, o, t) + line(SIGNER, o, t) },
    { noteLines: (t, o) => line(SIGNER, o, t) + line(other, "a", t) },
    { noteLines: (t, o) => line(other, o, t) },
    { noteLines: (t) => line(SIGNER, "b", t) },
    { noteLines: () => "" },
    { head: (head) => head.replace(/Grade: \w+/, "Grade: FINAL") },
    { head: (head) => head.replace(/Grade: \w+/, "Grade: LIMITED") },
    { head: (head) => head.replace(/\n {2}- .*/, "") },
    { head: (head) => `${head}\n` },
    { head: (head) => head.replace("2 audio", "3 audio") },
    { json: (json) => json.replace(/"user": "ada"/, '"user": "\\u0061da"') },
    { json: (json) => json.replace(/"(derived)": 0/, '"derived": -0') },
    { json: (json) => `${json}\n` },
    { json: (json) => json.replaceAll("  ", "\t") },
    { json: (json) => json.replace(/,\n {2}"final_leaf": [^]*$/, "\n}") },
  ]);
}

/** A certificate whose signatures are right, and what they sign is changed. */
export async function signedAgain(of, dice) {
  const made = structuredClone(of);
  const waits = of.body.pending_until;
  const kind = dice.below(10);
  if (kind < 4) {
    const path = dice.of(places(made).slice(1));
    put(made, path, other(at(made, path), dice));
  } else if (kind < 7) {
    outcomes(made, dice);
  }
  try {
    if (dice.below(8) > 0) rebind(made, waits, dice);
    if (kind === 7) leaves(made, dice);
    return await certificate(made, kind > 7 ? surroundings(dice) : {});
  } catch {
    return null; // too much is gone for a file to be made
  }
}

function rebind(of, waits, dice) {
  const ended = of.final_leaf;
  bind(of, dice.below(12) === 0 ? null : waits);
  if (ended) of.final_leaf = ender(of, 11);
}
