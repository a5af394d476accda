// How long it is kept, a child's profile, and all of one kind: on the page.
//   KEYFALLD=PATH [CHROMIUM=PATH] [SHOTS=DIRECTORY] node --test keep.test.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, SAID, Service, unbuilt } from "./kit.mjs";
import { sound } from "./looks.mjs";

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

/** A page that a link leads to. */
async function entered(handle, role = {}, options = {}) {
  const context = await browser.newContext({ bypassCSP: true, viewport: { width: 768, height: 900 }, ...options });
  const page = await context.newPage();
  await page.goto(await service.link(handle, role));
  await page.click("button.main");
  return page;
}

const choices = ["Not at all", "1 day", "3 months", "Until I erase it"];
const chosen = (page) => page.locator("input[name=keep]:checked").evaluateAll((all) => all.map((one) => one.value));

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";
  test(`how long it is kept is a choice of four, ${how}`, { skip: unbuilt }, async () => {
    const { handle } = await service.person(`ada ${how}`);
    const page = await entered(handle, {}, { javaScriptEnabled });
    await page.click("nav >> text=How long");
    const labels = await page.locator(".radios label").allInnerTexts();
    assert.deepEqual(labels.map((label) => label.trim().split("\n")[0]), choices);
    assert.deepEqual(await chosen(page), ["open"]);
    if (javaScriptEnabled) await sound(page, "keep");

    // Nothing is old enough to go.
    await page.check("text=3 months");
    await page.click("text=Save");
    assert.match(await page.innerText("[role=status]"), /From now on: 3 months\./);
    await page.click("nav >> text=How long");
    assert.deepEqual(await chosen(page), ["months"]);
    await page.click("nav >> text=What is kept");
    assert.match(await page.locator(".about").first().innerText(), /Kept for: answering you, until /);

    // What was said yesterday, and an hour ago, is older than ten minutes.
    await page.click("nav >> text=How long");
    await page.check("text=Not at all");
    await page.click("text=Save");
    assert.match(await page.innerText("[role=alert]"), /things are older than that\. They go at once, for good/);
    if (javaScriptEnabled) await sound(page, "keep-falls");
    await page.click("text=Back, erase nothing");
    assert.deepEqual(await chosen(page), ["months"]);
    await page.click("nav >> text=What is kept");
    assert.equal(await page.locator(".turn").count(), SAID.length);
    await page.close();
  });
}

test("a child’s profile is made by the guardian, and the child cannot lengthen it", { skip: unbuilt }, async () => {
  const { handle } = await service.person("kim", SAID.slice(0, 1));
  const guardian = await entered(handle, { role: "guardian", guardian: "Erika Muster" });
  assert.equal(await guardian.innerText("h1"), "What we keep about kim");
  assert.match(await guardian.innerText("footer"), /You are signed in to kim’s page, which you look after/);
  await guardian.click("nav >> text=How long");
  await sound(guardian, "keep-guardian");
  await guardian.click("text=Make this a child’s profile");
  assert.match(await guardian.innerText("[role=status]"), /a day at most/);

  const child = await entered(handle, { role: "child" });
  assert.match(await child.innerText("h1"), /What we keep about you/);
  assert.equal(await child.locator("audio").count(), 1);
  await child.click("nav >> text=How long");
  assert.deepEqual(await chosen(child), ["day"]);
  const open = await child.locator("input[name=keep]:enabled").evaluateAll((all) => all.map((one) => one.value));
  assert.deepEqual(open, ["nothing", "day"]);
  assert.match(await child.innerText(".radios"), /Only the person who looks after this profile can make it longer/);
  assert.equal(await child.getByText("Make this a child’s profile").count(), 0);
  await sound(child, "keep-child");
  // Whatever is done to the form.
  await child.evaluate(() => document.querySelectorAll("input[name=keep]").forEach((one) => (one.disabled = false)));
  await child.check("text=Until it is erased");
  await child.click("text=Save");
  assert.deepEqual(await chosen(child), ["day"]);

  // The guardian may, and erases: the proof says who did.
  await guardian.click("nav >> text=What is kept");
  await guardian.locator("button[name=one]").first().click();
  await guardian.click("text=Erase now, for good");
  const download = guardian.waitForEvent("download");
  await guardian.click("text=Download the proof");
  assert.match(readFileSync(await (await download).path(), "utf8"), /"authority": "guardian: Erika Muster"/);
  await guardian.click("nav >> text=How long");
  await guardian.check("text=3 months");
  await guardian.click("text=Save");
  assert.match(await guardian.innerText("[role=status]"), /From now on: 3 months/);
  await child.close();
  await guardian.close();
});

test("all of one kind is erased, and the rest stays", { skip: unbuilt }, async () => {
  const { handle } = await service.person("bea");
  const page = await entered(handle);
  assert.equal(await page.getByText("Erase all actions").count(), 0);
  await page.selectOption("select[name=class]", "action");
  await page.click(".filters button");
  assert.equal(await page.locator(".turn").count(), 2);
  assert.equal(await page.locator("audio").count(), 0);
  await page.click("text=Erase all actions");
  assert.equal(await page.innerText("h1"), "Erase all actions?");
  assert.match(await page.innerText(".counts"), /^\s*2\s+actions\s*$/);
  await sound(page, "confirm-class");
  await page.click("text=Erase now, for good");
  assert.match(await page.innerText("[role=status]"), /2 actions\./);
  await page.click("text=Back to what is kept");
  assert.equal(await page.locator(".turn").count(), SAID.length);
  assert.deepEqual(await page.locator("blockquote").allTextContents(), SAID.map(([text]) => text));
  assert.equal(await page.locator("audio").count(), SAID.length);
  assert.equal(await page.locator(".done li").count(), 0);
  await page.close();
});

test("a card says until when it is kept, also where its erase is planned or held", { skip: unbuilt }, async () => {
  const { handle } = await service.person("cem");
  const bare = { "Keyfall-Class": "transcript", "Content-Type": "text/plain" };
  await service.ask("POST", `/v1/users/${handle}/records`, "no purpose", bare);
  const page = await entered(handle);
  const card = (text) => page.locator(".turn", { hasText: text }).locator(".about p").first();
  assert.equal(await card("no purpose").innerText(), "Kept until you erase it.");
  assert.equal(await card(SAID[0][0]).innerText(), "Kept for: answering you.");
  for (const text of ["no purpose", SAID[0][0]]) {
    await page.locator(".turn", { hasText: text }).locator("button[name=one]").click();
    await page.click("text=Erase in 7 days");
    await page.click("text=Back to what is kept");
  }
  assert.match(await card("no purpose").innerText(), /^Kept until \d+ \w+( \d{4})?, \d+:\d\d\.$/);
  assert.match(await card(SAID[0][0]).innerText(), /^Kept for: answering you, until \d+ \w+( \d{4})?, \d+:\d\d\.$/);
  // A part of it: all actions.
  await page.selectOption("select[name=class]", "action");
  await page.click(".filters button");
  await page.click("text=Erase all actions");
  await page.click("text=Erase in 7 days");
  await page.click("text=Back to what is kept");
  assert.match(await card(SAID[1][0]).innerText(), /^Kept for: answering you\. Some or all of it goes \d+ /);
  assert.equal(await card(SAID[2][0]).innerText(), "Kept for: answering you.");
  await sound(page, "planned");
  const hold = JSON.stringify({ reason: "claim 17", authority: "the district court" });
  await service.ask("POST", `/v1/users/${handle}/holds`, hold);
  await page.goto(`${service.base}/page`);
  assert.equal(await page.locator(".badge.held").count(), 4);
  for (const said of await page.locator(".about > p:first-child").allInnerTexts()) {
    assert.match(said, /A legal hold keeps it, for as long as the hold lasts\.$/);
  }
  assert.match(await page.innerText("main"), /A legal hold covers some of it: it stays unless the hold ends before/);
  assert.equal(await page.locator(".badge:not(.held)").count(), 0, "nothing is said to go that stays");
  await sound(page, "held");
  await page.close();
});
