// The whole way of somebody who hears, erases and is sure: by keyboard alone, and without scripts.
//   KEYFALLD=PATH [CHROMIUM=PATH] node --test journey.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, NOW, SAID, Service, date, time as clock, typed, unbuilt, wav } from "./kit.mjs";

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

/** Where the focus is: what it is called, whether it is seen, and whether it comes after the last stop. */
async function focus(page) {
  return page.evaluate(() => {
    const at = document.activeElement;
    const labels = [...(at.labels ?? [])].map((label) => label.innerText);
    const name = (at.getAttribute("aria-label") ?? (labels[0] || at.innerText || "")).split("\n")[0].trim();
    const box = at.getBoundingClientRect();
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(at);
    const middle = [Math.max(0, box.left) + Math.min(box.width, innerWidth) / 2, box.top + box.height / 2];
    const over = document.elementFromPoint(...middle);
    const within = box.top >= 0 && box.bottom <= innerHeight && box.left >= -1 && box.right <= innerWidth + 1;
    const before = window.lastStop;
    const forward = !before?.isConnected || before === at || (before.compareDocumentPosition(at) & 4) !== 0;
    window.lastStop = at;
    return {
      tag: at.tagName.toLowerCase(), name, forward,
      outlined: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && !/, 0\)$/.test(outlineColor),
      seen: within && box.width > 0 && (at.contains(over) || [...(at.labels ?? [])].some((l) => l.contains(over))),
    };
  });
}

/** Goes on with Tab to what is called so; every stop on the way has a name, is outlined and in sight. */
async function to(page, name) {
  const stops = [];
  for (let presses = 0; presses < 150; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await focus(page);
    assert.notEqual(at.tag, "body", `the focus is lost on the way to ${name}, after ${stops.join(" | ")}`);
    assert.ok(at.name, `a stop has no name, after ${stops.join(" | ")}`);
    assert.ok(at.outlined, `the focus is not outlined at ${at.name}`);
    assert.ok(at.seen, `the focus is out of sight at ${at.name}`);
    assert.ok(at.forward, `the focus goes back to ${at.name}, after ${stops.join(" | ")}`);
    if (stops.at(-1) !== at.name) stops.push(at.name);
    if (name instanceof RegExp ? name.test(at.name) : at.name === name) return stops;
  }
  return assert.fail(`${name} is not reached: ${stops.join(" | ")}`);
}

/** After a step the focus is where the page says what came of it, and that is in sight. */
async function led(page, words) {
  await page.waitForLoadState();
  const found = (words) => document.activeElement !== document.body && document.activeElement?.innerText?.includes(words);
  const came = await page.waitForFunction(found, words).catch(() => null);
  const { tag, name, seen } = await focus(page);
  assert.ok(came, `the focus is not led to ${words}, but is at ${tag} ${name.slice(0, 60)}`);
  assert.ok(seen, `${words} is out of sight`);
}

/** A step: to the control, and Enter; then the focus is at what came of it. */
async function step(page, control, words) {
  const stops = await to(page, control);
  await page.keyboard.press("Enter");
  await led(page, words);
  return stops;
}

/** The browser's dialog for a file, by Enter; not at once, while it closes one of before. */
async function chooser(page) {
  for (let tries = 0; tries < 10; tries += 1) {
    const asked = page.waitForEvent("filechooser", { timeout: 5000 }).catch(() => null);
    await page.keyboard.press("Enter");
    const opened = await asked;
    if (opened) return opened;
  }
  return assert.fail("Enter opens no dialog");
}

const BAR = ["What is kept", "How long", "Proofs", "How sure?", "Sign out"];

test("by keyboard alone: found, heard, erased, and sure with the network off", { skip: unbuilt }, async () => {
  const { handle, ids } = await service.person("ada");
  await service.open(handle, ids[3], "support desk", "a complaint");
  const context = await browser.newContext({ viewport: { width: 1024, height: 768 }, locale: "en-US" });
  const page = await context.newPage();
  await page.goto(await service.link(handle));
  await led(page, "Your voice, your say");
  await step(page, "Open my page", "What we keep about you");

  // The whole way through the list, in the order in which it is read.
  const list = await to(page, "Download everything");
  const time = (ago) => clock(NOW - ago);
  const turn = ([text, , ago], opened) => [
    `Select “${text}”, ${time(ago)}`, /^Recording, /, ...(opened ? ["Opened once"] : []), `Erase “${text}”, ${time(ago)}`,
  ];
  const expected = [
    "Show", "Until the day", "Show", /^Erase this day: (To|Yester)day/, ...turn(SAID[0]), /^Erase this day: /,
    ...turn(SAID[1], true), ...turn(SAID[2]), "Erase what is selected", "Erase everything …", "Download everything",
  ];
  assert.equal(list.length, expected.length, list.join(" | "));
  list.forEach((stop, n) => assert.match(stop, expected[n] instanceof RegExp ? expected[n] : new RegExp(`^${RegExp.escape?.(expected[n]) ?? expected[n].replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`)));
  // What stands above is one turn back.
  await page.goto(`${service.base}/page`);
  await led(page, "What we keep about you");
  for (const name of [...BAR].reverse()) {
    await page.keyboard.press("Shift+Tab");
    assert.equal((await focus(page)).name, name);
  }
  await page.keyboard.press("Shift+Tab");
  assert.equal((await focus(page)).name, "To the content");
  await page.keyboard.press("Enter");

  // Found by its day.
  await to(page, "Until the day");
  await page.keyboard.type(typed(NOW - SAID[1][2]));
  await step(page, "Show", "What we keep about you");
  assert.deepEqual(await page.locator("blockquote").allTextContents(), [WEATHER, MORNING]);
  const weather = await page.locator("audio").first().evaluate((audio) => audio.src);

  // Heard.
  await to(page, /^Recording, /);
  await page.keyboard.press("Space");
  await page.waitForSelector(".playing");
  await page.waitForFunction(() => document.querySelector("audio").currentTime > 0.3);
  assert.equal((await focus(page)).tag, "audio");
  await page.keyboard.press("Space");
  await page.waitForSelector(".playing", { state: "detached" });

  // Who opened it, and what for.
  await to(page, "Opened once");
  await page.keyboard.press("Enter");
  assert.match(await page.locator("details[open]").innerText(), /support desk, for: a complaint/);
  assert.equal((await focus(page)).name, "Opened once");

  // One, and the way back with nothing erased.
  await step(page, `Erase “${WEATHER}”, ${time(SAID[1][2])}`, "Erase the entry of");
  assert.match(await page.locator(".counts").innerText(), /1\s+recording\s+1\s+transcript\s+1\s+action/);
  assert.match(await page.innerText("main"), /What stays.*Everything else stays as it is/s);
  await step(page, "Back, erase nothing", "What we keep about you");

  // Several, planned and called off within the window.
  await to(page, new RegExp(`^Select “${TIMER}`));
  await page.keyboard.press("Space");
  await to(page, new RegExp(`^Select “${MORNING}`));
  await page.keyboard.press("Space");
  assert.equal(await page.innerText(".selection p"), "2 are selected.");
  await step(page, "Erase what is selected", "Erase 2 things that you selected?");
  const ask = await step(page, "Erase in 7 days", "It goes on");
  assert.deepEqual(ask, ["Keep the 2 transcripts", "Keep the 1 action", "Erase in 7 days"]);
  await step(page, "Back to what is kept", "What we keep about you");
  for (const left of [1, 0]) {
    await step(page, /^Call it off: /, "Called off: that erasure will not happen.");
    assert.equal(await page.getByText("Call it off").count(), left);
  }

  // The day, for good; a part of it is kept.
  await to(page, new RegExp(`^Erase “${TIMER}`));
  await step(page, /^Erase this day: /, "Erase all of");
  assert.match(await page.locator(".counts").innerText(), /2\s+recordings\s+2\s+transcripts\s+1\s+action/);
  await to(page, "Keep the 1 action");
  await page.keyboard.press("Space");
  assert.ok(await page.isChecked("input[name=keep][value=action]"));
  await step(page, "Erase now, for good", "Gone now, also from our backups.");
  assert.match(await page.innerText("[role=status]"), /2 recordings and 2 transcripts\..*Kept, as you wished: actions\./s);

  // Sure: the file, and the check without a network.
  const download = page.waitForEvent("download");
  await to(page, "Download the proof");
  await page.keyboard.press("Enter");
  const proof = readFileSync(await (await download).path());
  assert.match(String(proof), /keyfall\/certificate@v1/);
  assert.equal((await focus(page)).name, "Download the proof");
  await context.setOffline(true);
  await to(page, "Check it here");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[data-verdict] .note.good");
  assert.equal((await focus(page)).name, "Check it here");
  await to(page, "Read the proof");
  await page.keyboard.press("Enter");
  assert.ok(await page.isVisible("[data-proof]"));
  await context.setOffline(false);

  // It is gone: from the list, and by its address.
  await step(page, "Back to what is kept", "What we keep about you");
  assert.deepEqual(await page.locator("blockquote").allTextContents(), [TIMER]);
  assert.equal((await context.request.get(weather)).status(), 410);

  // Any proof, on the page for it: true, then with one byte changed.
  await page.goto(`${service.base}/page/proofs`);
  await step(page, "Check a proof", "Check a proof");
  await context.setOffline(true);
  const changed = Buffer.from(proof);
  changed[proof.indexOf('"user": "ada"') + 10] ^= 1;
  await to(page, "The file of the proof");
  for (const [file, mood] of [[proof, "good"], [changed, "bad"]]) {
    const chosen = await chooser(page);
    await chosen.setFiles({ name: "proof.erased", mimeType: "text/plain", buffer: file });
    await page.waitForSelector(`[data-verdict] .note.${mood}`);
    assert.equal((await focus(page)).name, "The file of the proof");
  }
  assert.deepEqual(await to(page, "The public key of the log"), ["The public key of the log"]);
  await context.close();
});

test("without scripts, through every step", { skip: unbuilt }, async () => {
  const { handle, ids } = await service.person("cem");
  await service.open(handle, ids[3], "support desk", "a complaint");
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 768, height: 900 } });
  const page = await context.newPage();
  const said = () => page.locator("blockquote").allTextContents();
  /** The focus is led without a script as well. */
  const isLed = async (words) => assert.match(await page.locator(":focus").innerText(), words);
  await page.goto(await service.link(handle));
  await isLed(/Your voice, your say/);
  await page.click("text=Open my page");
  assert.deepEqual(await said(), [TIMER, WEATHER, MORNING]);
  const yesterday = date(NOW - SAID[1][2]);
  await page.fill("input[name=until]", yesterday);
  await page.click(".filters button");
  assert.deepEqual(await said(), [WEATHER, MORNING]);

  // The browser's own controls, and what they play.
  const audio = page.locator("audio").first();
  assert.notEqual(await audio.getAttribute("controls"), null);
  assert.ok((await audio.boundingBox()).height >= 40);
  const asked = page.waitForResponse(/\/page\/records\//);
  await audio.focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  const played = await asked;
  assert.equal(played.headers()["content-type"], "audio/wav");
  const weather = service.base + (await audio.getAttribute("src"));
  const whole = await context.request.get(weather);
  assert.deepEqual(await whole.body(), wav(WEATHER));
  const of = (tag) => context.request.get(weather, { headers: { Range: "bytes=44-75", "If-Range": tag } });
  assert.equal((await of('"0"')).status(), 200);
  const part = await of(whole.headers().etag);
  assert.deepEqual([part.status(), await part.body()], [206, wav(WEATHER).subarray(44, 76)]);
  await page.click("summary");
  assert.match(await page.innerText("details[open]"), /support desk, for: a complaint/);

  // Several: nothing at first, then planned, and called off.
  await page.click("text=Erase what is selected");
  assert.match(await page.innerText("h1"), /Nothing was selected/);
  await page.click("main a.button");
  for (const box of await page.locator("input[name=turn]").all()) await box.check();
  await page.click("text=Erase what is selected");
  assert.match(await page.innerText(".counts"), /3\s+recordings\s+3\s+transcripts\s+2\s+actions/);
  await isLed(/^Erase 3 things/);
  await page.click("text=Erase in 7 days");
  await isLed(/^It goes on/);
  await page.click("text=Back to what is kept");
  assert.equal(await page.locator(".badge").count(), 3);
  for (let n = 3; n > 0; n -= 1) await page.click("button[name=plan] >> nth=0");
  await isLed(/^Called off/);
  assert.equal(await page.locator(".badge").count(), 0);

  // One, for good.
  await page.locator("button[name=one]").nth(1).click();
  await page.check("input[name=keep][value=transcript]");
  await page.click("text=Erase now, for good");
  await isLed(/^Gone now/);
  assert.ok(await page.isHidden("text=Check it here"));
  const proof = page.waitForEvent("download");
  await page.click("text=Download the proof");
  assert.match(readFileSync(await (await proof).path(), "utf8"), /"user": "cem"/);
  await page.click("text=Back to what is kept");
  assert.deepEqual(await said(), [TIMER, WEATHER, MORNING]);
  assert.equal(await page.locator("audio").count(), 2);
  assert.equal((await context.request.get(weather)).status(), 410);

  // All of it, as a file; the proof that is kept; then everything goes.
  const all = page.waitForEvent("download");
  await page.click("text=Download everything");
  assert.equal(readFileSync(await (await all).path()).subarray(0, 2).toString(), "PK");
  await page.click("nav >> text=Proofs");
  const kept = page.waitForEvent("download");
  await page.click("main li a");
  assert.match(readFileSync(await (await kept).path(), "utf8"), /"user": "cem"/);
  await page.click("text=Check a proof");
  assert.match(await page.innerText("noscript"), /keyfall-verify/);
  await page.click("nav >> text=What is kept");
  await page.click("text=Erase everything …");
  await page.click("text=Erase now, for good");
  assert.match(await page.innerText("h1"), /Gone now/);
  await page.click("text=Back to what is kept");
  assert.match(await page.innerText("h2"), /Nothing is kept/);
  await context.close();
});
