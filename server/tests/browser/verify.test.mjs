// The three readers of certificates agree: verify.js, tests/auditor.py and keyfall-verify.
//   KEYFALL_VERIFY=PATH node --test verify.test.mjs
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Dice, certificate, verifierKey } from "./forge.mjs";
import { changed, honest, signedAgain } from "./mutations.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PROGRAM = process.env.KEYFALL_VERIFY ?? join(ROOT, "target/debug/keyfall-verify");
const MUTATIONS = Number(process.env.KEYFALL_MUTATIONS ?? 10_000);
const SEED = Number(process.env.KEYFALL_SEED ?? 1);
const GOOD = readFileSync(join(ROOT, "tests/certificates/good.erased"), "utf8");
const GOOD_KEY = readFileSync(join(ROOT, "tests/certificates/good.key"), "utf8").trim();
const { verify, Refused } = globalThis.keyfall;

test("the certificate in the repository holds, as far as it says", async () => {
  const { grade, level, reasons, body } = await verify(Buffer.from(GOOD), GOOD_KEY);
  assert.deepEqual([grade, level, reasons.length, body.user], ["LIMITED", "L0", 1, "ada"]);
});

test("no byte of it can be another, and it cannot end before its last", async () => {
  const bytes = Buffer.from(GOOD);
  for (let at = 0; at < bytes.length; at++) {
    const file = Buffer.from(bytes);
    file[at] ^= 1 << (at % 8);
    await assert.rejects(verify(file, GOOD_KEY), Refused, `byte ${at}`);
  }
  await assert.rejects(verify(bytes.subarray(0, -1), GOOD_KEY), Refused);
});

test("of every outcome one holds, with the grade that it has", async () => {
  const grades = {};
  for (const [name, of] of Object.entries(honest(GOOD))) {
    const { grade } = await verify(Buffer.from(await certificate(of)), verifierKey());
    (grades[grade] ??= []).push(name);
  }
  assert.deepEqual(grades, {
    FINAL: ["final", "odd", "page", "ended", "quorum", "earlier", "finalStated"],
    LIMITED: ["limited", "damaged"],
    PENDING: ["waiting", "scheduled", "windowed", "few"],
  });
});

const unbuilt = !existsSync(PROGRAM) && `${PROGRAM} is not built`;

test(`three readers give ${MUTATIONS} files with changed bytes the same verdict`, { skip: unbuilt }, async () => {
  const good = { key: GOOD_KEY, files: [GOOD] };
  const files = await Promise.all(Object.values(honest(GOOD)).map((of) => certificate(of)));
  const made = (dice) => {
    const from = dice.below(2) === 0 ? good : { key: verifierKey(), files };
    return [from.key, changed(dice.of(from.files), dice)];
  };
  const verdicts = await compared(made);
  assert.deepEqual(verdicts.filter(({ script, program, auditor }) => script !== program || script !== auditor), []);
});

test(`three readers give ${MUTATIONS} files that are signed again after a change the same verdict`, { skip: unbuilt }, async () => {
  const kinds = Object.values(honest(GOOD));
  const verdicts = await compared(async (dice) => {
    const content = await signedAgain(dice.of(kinds), dice);
    return content && [verifierKey(), content];
  });
  assert.deepEqual(verdicts.filter(({ script, program, auditor }) => script !== program || script !== auditor), []);
});

/** What may stand around a key, and what may not: whether each reader takes it. */
test("three readers take a key with the same around it", { skip: unbuilt }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "keyfall-verify-"));
  const file = join(dir, "good.erased");
  writeFileSync(file, GOOD);
  const around = [..." \n\t\f\r\v\u0085\u00a0\u1680\u200b\u2028\u3000\ufeff+=x\u0001"];
  const keys = around.flatMap((c) => [c + GOOD_KEY, GOOD_KEY + c, GOOD_KEY.replace("+", `${c}+`), GOOD_KEY.replace("+", `+${c}`)]);
  const [first, ...rest] = GOOD_KEY;
  const taken = { [GOOD_KEY]: true };
  for (const key of [GOOD_KEY, ...keys, GOOD_KEY.toUpperCase(), rest.join(""), `${first}${GOOD_KEY}`, "", "+", "++"]) {
    const { script } = await byScript(file, key);
    const program = byProgram([file], key)[0];
    const auditor = byAuditor([file], key, dir)[0];
    assert.deepEqual([program, auditor], [script, script], JSON.stringify(key));
    taken[key] = script !== "refused";
  }
  rmSync(dir, { recursive: true });
  // White space of ASCII that ends a line or a field, and nothing else.
  assert.deepEqual(around.filter((c) => taken[c + GOOD_KEY]), [..." \n\t\f\r"]);
  assert.deepEqual(around.filter((c) => taken[GOOD_KEY + c]), [..." \n\t\f\r"]);
});

/** The verdicts on files that `make` makes, in one directory for all. */
async function compared(make) {
  const dir = mkdtempSync(join(tmpdir(), "keyfall-verify-"));
  try {
    const groups = new Map();
    for (let made = 0, dice = new Dice(SEED); made < MUTATIONS; ) {
      const file = await make(dice);
      if (file === null) continue; // too much was gone for a file to be made
      const path = join(dir, `${made++}.erased`);
      writeFileSync(path, file[1]);
      groups.set(file[0], [...(groups.get(file[0]) ?? []), path]);
    }
    const verdicts = [];
    for (const [key, files] of groups) {
      const [rust, python] = [byProgram(files, key), byAuditor(files, key, dir)];
      for (const [i, file] of files.entries()) {
        verdicts.push({ file, ...(await byScript(file, key)), program: rust[i], auditor: python[i] });
      }
    }
    const counted = {};
    for (const { script, program, auditor } of verdicts) {
      const words = script === program && script === auditor ? script : `${script}, ${program}, ${auditor}`;
      counted[words] = (counted[words] ?? 0) + 1;
    }
    console.log("verdicts of verify.js, keyfall-verify, auditor.py:", counted);
    return verdicts;
  } finally {
    if (!process.env.KEYFALL_KEEP) rmSync(dir, { recursive: true });
  }
}

async function byScript(file, key) {
  try {
    return { script: (await verify(readFileSync(file), key)).grade, why: "" };
  } catch (e) {
    if (e instanceof Refused) return { script: "refused", why: e.message };
    throw new Error(`${file}: ${e.stack}`);
  }
}

function byProgram(files, key) {
  const verdicts = new Map();
  for (let from = 0; from < files.length; from += 1000) {
    const some = files.slice(from, from + 1000);
    const told = spawnSync(PROGRAM, [...some, `--key=${key}`], { encoding: "utf8", maxBuffer: 1 << 28 });
    assert.ok([0, 2, 4, 5, 6].includes(told.status), `${PROGRAM}: ${told.error ?? told.stderr.slice(-2000)}`);
    // Words of a certificate stand in the lines between, indented.
    const found = told.stdout.matchAll(/^(\/.*\.erased):\n(?: {2}.*\n)*? {2}The certificate holds\. Grade: (\w+)/gm);
    for (const [, file, grade] of found) verdicts.set(file, grade);
  }
  return files.map((file) => verdicts.get(file) ?? "refused");
}

const DRIVER = `
import sys
sys.path.insert(0, sys.argv[1])
import auditor
for path in sys.stdin.read().splitlines():
    try:
        with open(path, encoding="utf-8", newline="") as f:
            print(auditor.certificate(f.read(), auditor.verifier_key(sys.argv[2])))
    except Exception:
        print("refused")
`;

function byAuditor(files, key, dir) {
  const driver = join(dir, "driver.py");
  writeFileSync(driver, DRIVER);
  const input = files.join("\n");
  const told = execFileSync("python3", [driver, join(ROOT, "tests"), key], { input, encoding: "utf8", maxBuffer: 1 << 28 });
  return told.trimEnd().split("\n").map((line) => line.split(/\s/)[0]);
}
