// What is downloaded is read, heard and checked by a browser without a network and without the service.
//   KEYFALLD=PATH [CHROMIUM=PATH] [SHOTS=DIRECTORY] node --test archive.test.mjs
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM, SAID, SECONDS, Service, unbuilt, wav } from "./kit.mjs";
import { sound } from "./looks.mjs";

let [service, browser] = [];
const dir = mkdtempSync(join(tmpdir(), "keyfall-archive-"));

before(async () => {
  if (unbuilt) return;
  service = await Service.start();
  browser = await chromium.launch(CHROMIUM);
});

after(async () => {
  await browser?.close();
  await service?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test("an export is read, heard and checked with the network off", { skip: unbuilt }, async () => {
  const { handle } = await service.person("ada");
  const hostile = '<script>document.title = "run"</script>';
  const more = { "Keyfall-Class": "note", "Content-Type": "text/html", "Keyfall-Name": '"><img src=x onerror=alert(1)>' };
  await service.ask("POST", `/v1/users/${handle}/records`, hostile, more);
  const context = await browser.newContext({ bypassCSP: true, viewport: { width: 1024, height: 768 } });
  const page = await context.newPage();
  await page.goto(await service.link(handle));
  await page.click("text=Open my page");
  // Two exchanges go, so that there are proofs.
  for (let n = 0; n < 2; n += 1) {
    await page.locator("button[name=one]").last().click();
    await page.click("text=Erase now, for good");
    await page.click("text=Back to what is kept");
  }
  const download = page.waitForEvent("download");
  await page.click("text=Download everything");
  const file = await (await download).path();
  await service.stop();
  service = undefined;
  execFileSync("python3", ["-m", "zipfile", "-e", file, dir]);
  const records = readdirSync(join(dir, "records"));
  const kept = records.filter((name) => !name.endsWith(".erased"));
  assert.equal(records.length - kept.length, 2, "two proofs");
  assert.equal(kept.length, 4, "a recording, its transcript, what was done, and a note");

  const offline = await browser.newContext({ offline: true, viewport: { width: 1024, height: 768 } });
  const read = await offline.newPage();
  const asked = [];
  read.on("request", (request) => asked.push(request.url()));
  await read.goto(String(pathToFileURL(join(dir, "index.html"))));
  assert.equal(await read.innerText("h1"), "What was kept of ada");
  assert.deepEqual(await read.locator("blockquote").allTextContents(), [SAID[0][0]]);
  const files = await read.locator(".turns a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  assert.deepEqual(files.sort(), kept.map((name) => `records/${name}`).sort());
  assert.ok(files.every((name) => existsSync(join(dir, name))));
  assert.deepEqual(readFileSync(join(dir, "records", kept.find((name) => name.endsWith(".wav")))), wav(SAID[0][0]));
  const heard = await read.locator("audio").evaluate(async (audio) => {
    audio.muted = true;
    await audio.play();
    return audio.duration;
  });
  assert.ok(Math.abs(heard - SECONDS) < 0.1);
  assert.equal(await read.title(), "What was kept of ada");
  await sound(read, "export");

  await read.click("text=Check a proof");
  assert.equal(await read.locator("[data-run]").count(), 2);
  for (const n of [0, 1]) {
    await read.locator("[data-run]").nth(n).click();
    assert.match(await read.locator("[data-verdict]").nth(n).locator(".note.good").innerText(), /The proof holds/);
  }
  const changed = readFileSync(join(dir, "records", records.find((name) => name.endsWith(".erased"))));
  for (const [mood, bit] of [["good", 0], ["bad", 1]]) {
    changed[changed.indexOf('"user": "ada"') + 10] ^= bit;
    await read.setInputFiles("#file", { name: "a.erased", mimeType: "text/plain", buffer: changed });
    await read.waitForSelector(`[data-verdict] >> nth=2 >> .note.${mood}`);
  }
  await sound(read, "export-check");
  const named = await read.locator("[data-check] p code").allTextContents();
  assert.deepEqual(named.filter((name) => name.startsWith("records/")).sort(), records.filter((name) => name.endsWith(".erased")).map((name) => `records/${name}`).sort());
  assert.deepEqual(asked.filter((url) => !url.startsWith("file:")), [], "nothing is fetched from elsewhere");
  await offline.close();

  // Without scripts it is read as well.
  const still = await browser.newContext({ javaScriptEnabled: false, offline: true });
  const quiet = await still.newPage();
  await quiet.goto(String(pathToFileURL(join(dir, "index.html"))));
  assert.ok(await quiet.isVisible("blockquote"));
  await quiet.click("text=Check a proof");
  assert.match(await quiet.innerText("noscript"), /keyfall-verify/);
  assert.ok(await quiet.isHidden("[data-run] >> nth=0"));
  await still.close();
});

test("a proof of somebody else is none of those that an export checks", { skip: unbuilt }, async () => {
  const other = await Service.start();
  try {
    const [ada, eve] = [await other.person("ada"), await other.person("mensch-unikat")];
    const erase = async ({ handle }) => {
      const asked = JSON.stringify({ scope: { user: handle, class: "audio" }, authority: "a test" });
      return (await other.ask("POST", "/v1/erasures", asked, { "Idempotency-Key": crypto.randomUUID() })).certificate;
    };
    await other.plant("ada", [await erase(eve), await erase(ada)]);
    const purpose = { "Keyfall-Purpose": "a test" };
    const zip = await other.tell("GET", `/v1/users/${ada.handle}/export.zip`, undefined, purpose);
    const file = join(dir, "eve.zip");
    writeFileSync(file, Buffer.from(await zip.arrayBuffer()));
    execFileSync("python3", ["-m", "zipfile", "-e", file, join(dir, "eve")]);
    const check = readFileSync(join(dir, "eve", "check.html"), "utf8");
    assert.equal(check.match(/keyfall\/certificate@v1/g).length, 1);
    assert.ok(check.includes("&quot;user&quot;: &quot;ada&quot;") && !check.includes("mensch-unikat"));
    assert.ok(check.includes('data-user="ada"'), "the check knows whom it has to be about");
    assert.match(readFileSync(join(dir, "eve", "index.html"), "utf8"), /records\/[^"]+\.erased/);
  } finally {
    await other.stop();
  }
});
