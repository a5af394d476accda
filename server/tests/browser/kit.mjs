// The service as a program of its own, somebody of whom something is kept, and Chromium.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = process.env.KEYFALLD ?? fileURLToPath(new URL("../../../target/debug/keyfalld", import.meta.url));
/** The command line, beside the service. */
const KEYFALL = process.env.KEYFALL ?? join(dirname(PROGRAM), "keyfall");
const ARGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " +
  "--disable-component-update --disable-sync";
/** The zone of pages: what is tested holds at any time of any day. */
export const ZONE = process.env.KEYFALL_ZONE ?? "Europe/Berlin";
export const unbuilt = !existsSync(PROGRAM) && `${PROGRAM} is not built`;

/** How Chromium is started. */
export const CHROMIUM = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS.split(" ") };

/** The first line that a program says, which ends no sooner. */
export function firstLine(child) {
  return new Promise((found, failed) => {
    let said = "";
    child.stdout.on("data", (piece) => {
      said += piece;
      if (said.includes("\n")) found(said.slice(0, said.indexOf("\n")));
    });
    child.once("error", failed);
    child.once("exit", (status, signal) => failed(new Error(`it ended before it listened: ${signal ?? status}`)));
  });
}

/** A service over a store of its own. */
export class Service {
  static async start() {
    const service = new Service();
    service.dir = mkdtempSync(join(tmpdir(), "keyfall-page-"));
    await service.run();
    return service;
  }

  async run() {
    const args = ["--store", "a.db", "--accept-remnants", "--listen", "127.0.0.1:0", "--admin-token-file", "token"];
    this.child = spawn(PROGRAM, args, { cwd: this.dir, stdio: ["ignore", "pipe", "ignore"] });
    [, this.base] = /(http:\S+)/.exec(await firstLine(this.child));
    this.token = readFileSync(join(this.dir, "token"), "utf8").trim();
  }

  async end() {
    const ended = once(this.child, "exit");
    this.child.kill();
    await ended;
  }

  /** Puts texts as proofs of somebody, as a program with the store at hand can: the service refuses them. */
  async plant(user, texts) {
    await this.end();
    const kind = ["--class", "certificate", "--type", "text/vnd.keyfall.certificate"];
    for (const input of texts) execFileSync(KEYFALL, ["put", "a.db", "--user", user, ...kind, "-"], { cwd: this.dir, input });
    await this.run();
  }

  async stop() {
    await this.end();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A request of the admin, which is answered well. */
  async ask(...request) {
    return (await this.tell(...request)).json();
  }

  /** The same, where no more is answered than that it was done. */
  async tell(method, path, body, headers = {}) {
    const all = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json", ...headers };
    const answer = await fetch(this.base + path, { method, headers: all, body });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    return answer;
  }

  /** A person of whom something is kept: what was said, what was done, how long ago. */
  async person(name, said = SAID) {
    const { handle } = await this.ask("POST", "/v1/users", JSON.stringify({ name }));
    const ids = [];
    for (const [text, done, ago] of said) {
      const of = { "Keyfall-Interaction": interaction(ago), "Keyfall-Purpose": "answering you" };
      const put = async (kept, type, body, from) => {
        const source = from ? { "Keyfall-From": from } : {};
        const headers = { ...of, ...source, "Keyfall-Class": kept, "Content-Type": type };
        const { id } = await this.ask("POST", `/v1/users/${handle}/records`, body, headers);
        ids.push(id);
        return id;
      };
      const audio = await put("audio", "audio/wav", wav(text));
      const transcript = await put("transcript", "text/plain; language=en", text, audio);
      if (done) await put("action", "application/json", JSON.stringify(done), transcript);
    }
    return { handle, ids };
  }

  async link(handle, more = {}) {
    const asked = JSON.stringify({ zone: ZONE, language: "en", ...more });
    return this.base + (await this.ask("POST", `/v1/users/${handle}/page-links`, asked)).url;
  }

  /** Opens a record in somebody's name. */
  async open(handle, id, principal, purpose) {
    const credential = { principal, scopes: ["read"], users: [handle], purposes: [purpose] };
    const { token } = await this.ask("POST", "/v1/credentials", JSON.stringify(credential));
    const headers = { Authorization: `Bearer ${token}`, "Keyfall-Purpose": purpose };
    const answer = await fetch(`${this.base}/v1/records/${id}`, { headers });
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
  }
}

/** When the tests began: what was said, was said so long before. */
export const NOW = Date.now();
const HOUR = 3_600_000;
/** What somebody said, the newest first: the second and the third on one day. */
export const SAID = [
  ["Set a timer for ten minutes", { timer: "ten minutes" }, HOUR],
  ["What will the weather be like in Hamburg tomorrow?", { weather: "Hamburg, tomorrow" }, noon(1)],
  ["Good morning", null, noon(1) + HOUR],
];

/** The parts of a moment, on the clock of the zone. */
function local(at) {
  const form = { timeZone: ZONE, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  return Object.fromEntries(new Intl.DateTimeFormat("en-US", form).formatToParts(at).map(({ type, value }) => [type, value]));
}

/** A day of the zone, by its date. */
export function date(at) {
  const { year, month, day } = local(at);
  return `${year}-${month}-${day}`;
}

/** A day of the zone, as it is typed into a field of an American browser. */
export function typed(at) {
  const { year, month, day } = local(at);
  return month + day + year;
}

/** A time of day, as pages print it: `09:14`, `00:17`. */
export function time(at) {
  const { hour, minute } = local(at);
  return `${hour}:${minute}`;
}

/** How long ago it was noon in the zone, some days before the day of the newest: that is an hour old, so shortly after
 * midnight its day is yesterday. */
export function noon(days) {
  const { hour, minute } = local(NOW - HOUR);
  const exact = HOUR + (Number(hour) - 12) * HOUR + Number(minute) * 60_000 + days * 24 * HOUR;
  // A clock that was put forward or back meanwhile is an hour off, and the day is the same.
  return exact + (Number(local(NOW - exact).hour) - 12) * HOUR;
}

/** How long a recording is: longer than a step takes on a busy machine. */
export const SECONDS = 30;

/** Noise, as a file that Chromium plays: its bytes are those of no other. */
export function wav(of) {
  const file = Buffer.alloc(44 + 16_000 * SECONDS);
  file.write("RIFF", 0);
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8);
  [[16, 16], [8000, 24], [16_000, 28], [file.length - 44, 40]].forEach(([n, at]) => file.writeUInt32LE(n, at));
  [[1, 20], [1, 22], [2, 32], [16, 34]].forEach(([n, at]) => file.writeUInt16LE(n, at));
  file.write("data", 36);
  for (let at = 44, n = 0; at < file.length; at += 32, n += 1) {
    createHash("sha256").update(`${of} ${n}`).digest().copy(file, at);
  }
  return file;
}

function interaction(ago) {
  const bytes = Buffer.concat([Buffer.alloc(6), randomBytes(10)]);
  bytes.writeUIntBE(NOW - ago, 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})(.*)/, "$1-$2-$3-$4-$5");
}
