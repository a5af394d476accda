// The whole way of the person (story 6) by the mouse alone, in one run: from the link to a proof that is green with
// the network off, and red on one changed byte.
//   KEYFALLD=PATH [CHROMIUM=PATH] node --test mouse.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, SAID, Service, unbuilt } from "./kit.mjs";
import { violations } from "./looks.mjs";

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

const [TIMER, WEATHER, MORNING] = SAID.map(([text]) => text);

/** Turns the wheel until a thing is in sight, and gives its middle. */
async function seen(page, what) {
  const thing = typeof what === "string" ? page.locator(what).first() : what;
  await thing.waitFor({ state: "attached" });
  for (let turns = 0; turns < 60; turns += 1) {
    const { x, y, width, height } = await thing.boundingBox();
    const [left, top] = [x + width / 2, y + height / 2];
    const bare = await thing.evaluate((one, [left, top]) => {
      const over = document.elementFromPoint(left, top);
      return one === over || one.contains(over) || [...(one.labels ?? [])].some((label) => label.contains(over));
    }, [left, top]);
    if (bare) return { left, top, width, height, x };
    await page.mouse.wheel(0, top > 384 ? 120 : -120);
    await page.waitForTimeout(30);
  }
  return assert.fail(`${what} does not come in sight`);
}

/** A press of the button of the mouse, in the middle of a thing. */
async function press(page, what) {
  const { left, top, width, height } = await seen(page, what);
  assert.ok(width >= 24 && height >= 24, `${what} is ${width} by ${height}: too small to be met`);
  await page.mouse.move(left, top, { steps: 4 });
  await page.mouse.down();
  await page.mouse.up();
}

test("by mouse alone: found, heard, erased, and sure with the network off", { skip: unbuilt }, async () => {
  const { handle, ids } = await service.person("ada");
  await service.open(handle, ids[3], "support desk", "a complaint");
  const context = await browser.newContext({ bypassCSP: true, viewport: { width: 1024, height: 768 }, locale: "en-US" });
  const page = await context.newPage();
  await page.goto(await service.link(handle));
  await press(page, "text=Open my page");
  await page.waitForURL(/\/page$/);
  assert.deepEqual(await page.locator("blockquote").allTextContents(), [TIMER, WEATHER, MORNING]);

  // Heard: the browser's own button is at the left end of its line.
  const weather = page.locator(".turn", { hasText: WEATHER });
  const audio = weather.locator("audio");
  const { x, top } = await seen(page, audio);
  await page.mouse.click(x + 26, top);
  await page.waitForSelector(".playing");
  await page.waitForFunction(() => [...document.querySelectorAll("audio")].some((one) => one.currentTime > 0.3));
  await page.mouse.click(x + 26, top);
  await page.waitForSelector(".playing", { state: "detached" });
  const address = await audio.evaluate((one) => one.src);

  // Who opened it, and what for.
  await press(page, weather.locator("summary"));
  assert.match(await weather.locator("details[open]").innerText(), /support desk, for: a complaint/);

  // The day: what falls is read first.
  await press(page, page.locator("button[name=day]").last());
  await page.waitForURL(/\/page\/erase$/);
  assert.match(await page.innerText("h1"), /^Erase all of /);
  assert.match(await page.innerText(".counts"), /2\s+recordings\s+2\s+transcripts\s+1\s+action/);
  assert.match(await page.innerText("main"), /no transcript is left over.*What stays.*Everything else stays as it is/s);
  assert.deepEqual(await violations(page), []);
  await press(page, "text=Erase now, for good");
  await page.waitForURL(/\/page\/done\//);
  assert.match(await page.innerText("[role=status]"), /Gone now, also from our backups\./);
  assert.deepEqual(await violations(page), []);

  // The proof, as a file; then without a network: green, and red on one changed byte.
  const download = page.waitForEvent("download");
  await press(page, "text=Download the proof");
  const proof = readFileSync(await (await download).path());
  await context.setOffline(true);
  await press(page, "text=Check it here");
  await page.waitForSelector("[data-verdict] .note.good");
  assert.match(await page.innerText("[data-verdict]"), /The proof holds.*nothing was sent/s);
  await context.setOffline(false);
  await press(page, "nav >> text=Proofs");
  await page.waitForURL(/\/page\/proofs$/);
  await press(page, "text=Check a proof");
  await page.waitForURL(/\/page\/check$/);
  await context.setOffline(true);
  const changed = Buffer.from(proof);
  changed[proof.indexOf('"user": "ada"') + 10] ^= 1;
  for (const [buffer, mood, words] of [[proof, "good", /The proof holds/], [changed, "bad", /This proof does not hold/], [proof, "good", /The proof holds/]]) {
    const asked = page.waitForEvent("filechooser");
    await press(page, "#file");
    await (await asked).setFiles({ name: "proof.erased", mimeType: "text/plain", buffer });
    await page.waitForSelector(`[data-verdict] .note.${mood}`);
    assert.match(await page.innerText("[data-verdict]"), words);
  }
  assert.deepEqual(await violations(page), []);
  await context.setOffline(false);

  // Gone: from the list, and by its address.
  await press(page, "nav >> text=What is kept");
  await page.waitForURL(/\/page$/);
  assert.deepEqual(await page.locator("blockquote").allTextContents(), [TIMER]);
  assert.equal((await context.request.get(address)).status(), 410);
  await press(page, "text=Sign out");
  await page.waitForFunction(() => document.title === "You are signed out");
  assert.equal((await context.request.get(`${service.base}/page`)).status(), 401);
  await context.close();
});
