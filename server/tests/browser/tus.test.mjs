// Uploads by tus-js-client, while the service and the client are killed.
//   KEYFALLD=PATH [KEYFALL_UPLOAD=BYTES] node --test tus.test.mjs
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { EventEmitter, once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { firstLine } from "./kit.mjs";

const PROGRAM = process.env.KEYFALLD ?? fileURLToPath(new URL("../../../target/debug/keyfalld", import.meta.url));
const CLIENT = fileURLToPath(new URL("tus-client.mjs", import.meta.url));
const unbuilt = !existsSync(PROGRAM) && `${PROGRAM} is not built`;
const SIZE = Number(process.env.KEYFALL_UPLOAD ?? 48 << 20);
/** Of each, in an order by chance. */
const KILLS = 10;
/** The most memory that an upload may take, above that of a service which has just started. */
const MEMORY = 64 << 10;
const dir = mkdtempSync(join(tmpdir(), "keyfall-tus-"));
const at = (name) => join(dir, name);

after(() => {
  service.child?.kill("SIGKILL");
  client?.child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

/** The service, and how much memory it took in all its lives, above what it had when it had started. */
const service = {
  port: 0,
  most: 0,
  async start() {
    const args = ["--store", "a.db", "--accept-remnants", "--listen", `127.0.0.1:${this.port}`, "--admin-token-file", "token"];
    this.child = spawn(PROGRAM, args, { cwd: dir, stdio: ["ignore", "pipe", "ignore"] });
    this.port = Number(/:(\d+)\s*$/.exec(await firstLine(this.child))[1]);
    this.idle = this.memory("VmRSS");
  },
  memory(of) {
    const status = readFileSync(`/proc/${this.child.pid}/status`, "utf8");
    return Number(new RegExp(`^${of}:\\s+(\\d+) kB$`, "m").exec(status)[1]);
  },
  measure() {
    this.most = Math.max(this.most, this.memory("VmHWM") - this.idle);
  },
  async killed() {
    this.measure();
    const gone = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await gone;
  },
};

/** A client in a process of its own, and what it says. */
class Client extends EventEmitter {
  constructor(args, limit, seen) {
    super();
    this.child = spawn(process.execPath, [CLIENT, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    // It may be dead by then.
    this.child.stdin.on("error", () => {});
    this.may(limit);
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const [what, n] = line.split(" ");
      if (what === "at") seen.began(n);
      if (what === "there") seen.there(Number(n));
      if (what === "whole") this.record = n;
      this.emit("said", what);
    });
    this.ended = once(this.child, "close").then(() => this.emit("said", "ended"));
  }

  /** How far it may send. */
  may(limit) {
    this.child.stdin.write(`${limit}\n`);
  }

  /** Until it says one of these; `ended` if it ends. */
  async says(...wanted) {
    while (this.child.exitCode === null && this.child.signalCode === null) {
      const [what] = await once(this, "said");
      if (wanted.includes(what)) return what;
    }
    await this.ended;
    return "ended";
  }

  async killed() {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

let client;

/** A file of noise, and its sum. */
function noise(path) {
  const [file, sum] = [openSync(path, "w"), createHash("sha256")];
  for (let left = SIZE; left > 0; left -= 1 << 20) {
    const piece = randomBytes(Math.min(left, 1 << 20));
    writeSync(file, piece);
    sum.update(piece);
  }
  closeSync(file);
  return sum.digest("hex");
}

/** What a killed client left of its storage beyond what it had stored: the lock, or half a file. */
function tidied(stored) {
  rmSync(`${stored}.lock`, { recursive: true, force: true });
  try {
    JSON.parse(readFileSync(stored, "utf8"));
  } catch {
    rmSync(stored, { force: true });
  }
}

/** What was acknowledged of the upload that goes on. */
class Seen {
  urls = [];
  offset = 0;

  began(url) {
    if (this.urls.at(-1) === url) return;
    this.urls.push(url);
    this.offset = 0;
  }

  there(offset) {
    assert.ok(offset >= this.offset, "what was acknowledged is there");
    this.offset = offset;
  }
}

test("a file arrives whole over twenty kills of client and service", { skip: unbuilt, timeout: 840_000 }, async () => {
  await service.start();
  const token = readFileSync(at("token"), "utf8").trim();
  const headers = { Authorization: `Bearer ${token}` };
  const ask = (path, more) => fetch(`http://127.0.0.1:${service.port}${path}`, { headers, ...more });
  const body = JSON.stringify({ name: "ada" });
  const made = await ask("/v1/users", { method: "POST", body, headers: { ...headers, "Content-Type": "application/json" } });
  const { handle } = await made.json();
  const sum = noise(at("wake.wav"));
  const endpoint = `http://127.0.0.1:${service.port}/v1/users/${handle}/uploads`;
  const seen = new Seen();
  const begin = (limit) => {
    tidied(at("stored"));
    client = new Client([endpoint, token, at("wake.wav"), at("stored")], limit, seen);
  };

  // Each kill comes in a part of the file that no client goes beyond before it: so none comes too late.
  const whom = Array.from({ length: 2 * KILLS }, (_, n) => (n % 2 === 0 ? "client" : "service"));
  whom.forEach((_, n) => {
    const other = randomInt(n, whom.length);
    [whom[n], whom[other]] = [whom[other], whom[n]];
  });
  const limit = (n) => Math.floor((SIZE * (n + 1)) / (whom.length + 1));
  begin(limit(0));
  const kills = { client: 0, service: 0 };
  for (const [n, what] of whom.entries()) {
    client.may(limit(n));
    while ((await client.says("sends", "waits")) === "ended") begin(limit(n));
    await sleep(randomInt(40));
    if (what === "client") {
      await client.killed();
      kills.client += client.child.signalCode === "SIGKILL" ? 1 : 0;
      begin(limit(n));
    } else {
      await service.killed();
      kills.service += service.child.signalCode === "SIGKILL" ? 1 : 0;
      await service.start();
    }
    assert.equal(client.record, undefined, "it is not whole yet");
  }
  assert.deepEqual(kills, { client: KILLS, service: KILLS });
  client.may(SIZE);
  while ((await client.says("whole")) === "ended" && client.record === undefined) begin(SIZE);

  const got = await ask(`/v1/records/${client.record}`);
  assert.equal(got.headers.get("content-type"), "audio/wav");
  const arrived = createHash("sha256");
  for await (const piece of got.body) arrived.update(piece);
  assert.equal(arrived.digest("hex"), sum);
  const listed = await (await ask(`/v1/users/${handle}/records`)).json();
  assert.equal(listed.records.length, 1, "one record, whatever was repeated");
  service.measure();
  console.log(`${SIZE} bytes, ${seen.urls.length} uploads begun, at most ${service.most} KiB above idle`);
  assert.ok(service.most <= MEMORY, `${service.most} KiB above a service that has just started`);
});
