// Uploads by tus-js-client, while the service and the client are killed.
//   KEYFALLD=PATH node --test tus.test.mjs
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as tus from "tus-js-client";
import { firstLine } from "./kit.mjs";

const PROGRAM = process.env.KEYFALLD ?? fileURLToPath(new URL("../../../target/debug/keyfalld", import.meta.url));
const unbuilt = !existsSync(PROGRAM) && `${PROGRAM} is not built`;
const KILLS = 20;
const dir = mkdtempSync(join(tmpdir(), "keyfall-tus-"));
let [service, port] = [undefined, 0];

after(() => {
  service?.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

async function start() {
  const args = ["--store", "a.db", "--accept-remnants", "--listen", `127.0.0.1:${port}`, "--admin-token-file", "token"];
  service = spawn(PROGRAM, args, { cwd: dir, stdio: ["ignore", "pipe", "ignore"] });
  port = Number(/:(\d+)\s*$/.exec(await firstLine(service))[1]);
}

async function killed() {
  const gone = once(service, "exit");
  service.kill("SIGKILL");
  await gone;
}

test("a file arrives whole over twenty kills of client and service", { skip: unbuilt, timeout: 600_000 }, async () => {
  await start();
  const token = readFileSync(join(dir, "token"), "utf8").trim();
  const headers = { Authorization: `Bearer ${token}` };
  const ask = (path, more) => fetch(`http://127.0.0.1:${port}${path}`, { headers, ...more });
  const body = JSON.stringify({ name: "ada" });
  const made = await ask("/v1/users", { method: "POST", body, headers: { ...headers, "Content-Type": "application/json" } });
  const { handle } = await made.json();
  const file = randomBytes(48 << 20);
  const endpoint = `http://127.0.0.1:${port}/v1/users/${handle}/uploads`;
  let [url, record, kills, whole, offset] = [null, null, { client: 0, service: 0 }, false, 0];
  const metadata = { class: "audio", filetype: "audio/wav", filename: "wake.wav" };
  const count = () => kills.client + kills.service;

  while (!whole) {
    // A client that was killed knows the address of the upload and nothing else.
    const upload = await new Promise((moved) => {
      const it = new tus.Upload(file, {
        endpoint, uploadUrl: url, headers, metadata,
        chunkSize: 512 << 10, retryDelays: [50, 100, 200, 400, 800, 1600], storeFingerprintForResuming: false,
        onUploadUrlAvailable: () => { url = it.url; },
        onChunkComplete: (_, there) => {
          assert.ok(there >= offset, "what was acknowledged is there");
          offset = there;
        },
        onProgress: () => moved(it),
        onAfterResponse: (_, response) => { record = response.getHeader("Keyfall-Record") ?? record; },
        onError: () => moved(it),
        onSuccess: () => { whole = true; moved(it); },
      });
      it.start();
    });
    if (count() === KILLS) {
      for (let n = 0; !whole && n < 600; n += 1) await sleep(100);
      assert.ok(whole, "it ends");
      continue;
    }
    await sleep(randomInt(25));
    if (whole) break;
    if (randomInt(2) === 0) {
      await upload.abort();
      kills.client += 1;
    } else {
      await killed();
      await upload.abort();
      await start();
      kills.service += 1;
    }
  }
  assert.equal(count(), KILLS, `so many kills came before the file was whole: ${JSON.stringify(kills)}`);
  const got = await ask(`/v1/records/${record}`);
  assert.equal(got.headers.get("content-type"), "audio/wav");
  const sum = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(sum(Buffer.from(await got.arrayBuffer())), sum(file));
  const listed = await (await ask(`/v1/users/${handle}/records`)).json();
  assert.equal(listed.records.length, 1, "one record, whatever was repeated");
});
