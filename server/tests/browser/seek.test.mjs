// A player that seeks: Chromium asks for the part that it needs, and fetches nothing whole again.
//   KEYFALLD=PATH [CHROMIUM=PATH] node --test seek.test.mjs
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, Service, unbuilt } from "./kit.mjs";

let [service, browser] = [];

before(async () => {
  if (unbuilt) return;
  service = await Service.start();
  browser = await chromium.launch(CHROMIUM);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Bytes of a second: stereo, as a compact disc has it. */
const RATE = 44_100 * 4;
const LONG = 180;

/** A recording of three minutes, longer than a browser reads ahead. */
function long() {
  const file = Buffer.alloc(44 + RATE * LONG, randomBytes(65_536));
  file.write("RIFF", 0);
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8);
  [[16, 16], [44_100, 24], [RATE, 28], [file.length - 44, 40]].forEach(([n, at]) => file.writeUInt32LE(n, at));
  [[1, 20], [2, 22], [4, 32], [16, 34]].forEach(([n, at]) => file.writeUInt16LE(n, at));
  file.write("data", 36);
  return file;
}

/** What the player asked for, what it was answered, and how many bytes came. */
async function watched(page) {
  const network = await page.context().newCDPSession(page);
  const seen = { parts: [], bytes: 0, of: new Set() };
  network.on("Network.responseReceived", ({ requestId, response: { url, status, headers } }) => {
    if (!url.includes("/page/records/") || status === 200 && headers["Content-Length"] === undefined) return;
    const range = Object.entries(headers).find(([name]) => name.toLowerCase() === "content-range")?.[1] ?? "";
    const [, from, , length] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? [];
    seen.of.add(requestId);
    seen.parts.push({ status, from: Number(from), length: Number(length) });
  });
  network.on("Network.dataReceived", ({ requestId, dataLength }) => {
    if (seen.of.has(requestId)) seen.bytes += dataLength;
  });
  await network.send("Network.enable");
  return seen;
}

const now = (page) => page.evaluate(() => document.querySelector("audio").currentTime);

/** It plays on from where it is. */
async function playsOn(page) {
  const from = await now(page);
  await page.waitForFunction((from) => {
    const audio = document.querySelector("audio");
    return !audio.paused && !audio.seeking && audio.error === null && audio.currentTime > from + 0.5;
  }, from);
}

test("a player that seeks is given the part that it asks for, and plays on", { skip: unbuilt }, async () => {
  const { handle } = await service.person("ada");
  const file = long();
  const sound = { "Keyfall-Class": "audio", "Content-Type": "audio/wav" };
  await service.ask("POST", `/v1/users/${handle}/records`, file, sound);
  const page = await browser.newPage({ viewport: { width: 1024, height: 768 } });
  await page.goto(await service.link(handle));
  await page.click("text=Open my page");
  const seen = await watched(page);
  await page.locator("audio").first().evaluate((audio) => ((audio.muted = true), audio.play()));
  await playsOn(page);
  assert.deepEqual(seen.parts[0], { status: 206, from: 0, length: file.length });
  const begun = seen.bytes;
  assert.ok(begun < file.length / 3, `${begun} of ${file.length} bytes came before it sought`);

  // By its clock, far ahead of what was read.
  const first = seen.parts.length;
  await page.evaluate((at) => (document.querySelector("audio").currentTime = at), 120);
  await playsOn(page);
  assert.ok((await now(page)) >= 120);
  const sought = seen.parts.slice(first);
  assert.ok(sought.length > 0, "it asks for what it does not have");
  for (const { status, from, length } of sought) {
    assert.deepEqual([status, length], [206, file.length]);
    assert.ok(Math.abs(from - (44 + 120 * RATE)) < 3 * RATE, `${from} is not at two minutes`);
  }

  // Back to what it has: by the mouse, on its own line of time.
  const box = await page.locator("audio").first().boundingBox();
  const [across, along] = [box.y + box.height / 2, (part) => box.x + box.width * part];
  await page.mouse.move(along(0.5), across);
  await page.mouse.down();
  for (const part of [0.48, 0.45, 0.42]) await page.mouse.move(along(part), across);
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector("audio").currentTime < 119);
  const dragged = await now(page);
  assert.ok(dragged > 5, `${dragged} s: it was dragged to the middle`);
  await playsOn(page);
  assert.ok(seen.parts.slice(1).every(({ from }) => from > 0), "nothing is fetched from the beginning again");
  assert.ok(seen.bytes < file.length, `${seen.bytes} of ${file.length} bytes came in all`);
  assert.equal(await page.locator(".gone").count(), 0);
  await page.close();
});

test("where every reader is written down, a player that seeks is one line", { skip: unbuilt }, async () => {
  const { handle } = await service.person("bea", [["Good morning", null, 3_600_000]]);
  await service.tell("PUT", `/v1/users/${handle}/policies`, JSON.stringify({ class: "audio", readers_named: true }));
  const page = await browser.newPage({ viewport: { width: 1024, height: 768 } });
  await page.goto(await service.link(handle));
  await page.click("text=Open my page");
  await page.locator("audio").first().evaluate((audio) => ((audio.muted = true), audio.play()));
  await playsOn(page);
  for (const at of [20, 3, 12]) {
    await page.evaluate((at) => (document.querySelector("audio").currentTime = at), at);
    await playsOn(page);
  }
  await page.goto(`${service.base}/page`);
  assert.equal(await page.locator("summary").first().innerText(), "Opened once");
  await page.click("summary");
  assert.match(await page.innerText("details[open]"), /you, on this page, for: to hear or read it on the page/);
  await page.close();
});
