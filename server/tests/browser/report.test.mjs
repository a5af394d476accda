// The report and the certificate that the command line writes as pages look as the service's own do.
//   KEYFALL=PATH [CHROMIUM=PATH] [SHOTS=DIRECTORY] node --test report.test.mjs
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM, Service } from "./kit.mjs";
import { sound } from "./looks.mjs";

const BESIDE = process.env.KEYFALLD && join(dirname(process.env.KEYFALLD), "keyfall");
const PROGRAM = process.env.KEYFALL ?? BESIDE ?? fileURLToPath(new URL("../../../target/debug/keyfall", import.meta.url));
const unbuilt = !existsSync(PROGRAM) && `${PROGRAM} is not built`;
const dir = mkdtempSync(join(tmpdir(), "keyfall-report-"));
const ran = (...args) => execFileSync(PROGRAM, args, { cwd: dir, encoding: "utf8" }).trim();
let browser;
let service;

before(async () => {
  if (!unbuilt) browser = await chromium.launch(CHROMIUM);
});

after(async () => {
  await service?.stop();
  await browser?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A store with something for every part of the report. */
function written() {
  const put = (kept, file, ...more) => ran("put", "store", "--user", "ada", "--class", kept, ...more, file);
  ran("init", "store", "--accept-remnants");
  writeFileSync(join(dir, "wake.wav"), Buffer.alloc(9000));
  writeFileSync(join(dir, "said.txt"), "wake me at six");
  const audio = put("audio", "wake.wav", "--type", "audio/wav", "--purpose", "answering you", "--name", "kitchen/2026-11-26/wake-up-call.wav", "--meta", "device=kitchen speaker", "--meta", "https://example.org/a/very/long/key=<b>bold</b>");
  put("transcript", "said.txt", "--from", audio, "--type", "text/plain");
  put("action", "said.txt", "--type", "application/vnd.example.assistant.action+json");
  ran("get", "store", audio, "--as", "the support desk", "--purpose", "a complaint", "-o", "heard.wav");
  ran("hold", "add", "store", "--user", "ada", "--class", "action", "--reason", "claim 17", "--authority", "the district court");
  ran("erase", "store", "--user", "ada", "--class", "letter", "--yes", "-o", "ada.erased", "--authority", "ada herself", "--ground", "GDPR, article 17");
  writeFileSync(join(dir, "report.html"), ran("report", "store", "--user", "ada", "--html"));
  writeFileSync(join(dir, "certificate.html"), ran("certificate", "show", "ada.erased", "--html"));
}

const STYLE = fileURLToPath(new URL("../../../page/src/page.css", import.meta.url));

/** What the head and the frame of a page are made of; where a style comes from differs. */
const frame = () => {
  const head = [...document.head.children].filter((one) => one.matches("meta, title"));
  const named = (one) => [one.tagName, ...[...one.attributes].map(({ name, value }) => `${name}=${value}`)].join(" ");
  return {
    mode: document.compatMode,
    head: head.map(named),
    main: document.querySelector("main").parentElement.matches("body > div.page"),
    heads: [...document.querySelectorAll("h1")].every((one) => one.parentElement.closest("main")),
    language: document.documentElement.lang,
    styled: [...document.querySelectorAll("[style]")].length,
  };
};

/** The parts that both may have, and how each is shown. */
const PARTS = ["body", ".page", "main", "h1", "h2", ".lead", ".card", ".facts", ".facts dt", ".facts dd", "code", "pre", "p a", ".soft", ".note"];
const shown = (parts) => {
  const of = (part) => {
    const one = document.querySelector(part);
    if (one === null) return null;
    const style = getComputedStyle(one);
    const names = ["display", "fontFamily", "fontSize", "fontWeight", "letterSpacing", "lineHeight", "color", "backgroundColor", "maxWidth"];
    return names.map((name) => style[name]).join("; ");
  };
  return Object.fromEntries(parts.map((part) => [part, of(part)]));
};

/** Names of classes that a page uses. */
const used = () => [...new Set([...document.querySelectorAll("[class]")].flatMap((one) => [...one.classList]))].sort();

test("the report, the certificate and the service’s page are made of the same parts", { skip: unbuilt }, async () => {
  if (!existsSync(join(dir, "report.html"))) written();
  const ours = await Service.start();
  const style = readFileSync(STYLE, "utf8");
  const page = await browser.newPage({ viewport: { width: 1024, height: 768 } });
  try {
    const served = await (await fetch(`${ours.base}/page/assets/page.css`)).text();
    assert.equal(served, style, "the service has the style of the command line");
    const { handle, ids } = await ours.person("ada");
    await ours.open(handle, ids[0], "support desk", "a complaint");
    await page.goto(await ours.link(handle));
    await page.click("text=Open my page");
    const seen = { frame: await page.evaluate(frame), shown: {} };
    const classes = new Set();
    for (const at of ["", "/keep", "/sure", "/check", "/proofs", "/done/9"]) {
      await page.goto(`${ours.base}/page${at}`);
      for (const [part, how] of Object.entries(await page.evaluate(shown, PARTS))) seen.shown[part] ??= how;
      for (const name of await page.evaluate(used)) classes.add(name);
    }
    const missing = (names) => names.filter((name) => !new RegExp(`\\.${name}\\b`).test(style));
    assert.deepEqual(missing([...classes]), [], "the page uses classes that the style does not know");
    for (const name of ["report", "certificate"]) {
      const file = readFileSync(join(dir, `${name}.html`), "utf8");
      assert.ok(file.includes(`<style>${style}</style>`), `${name} has another style`);
      await page.goto(String(pathToFileURL(join(dir, `${name}.html`))));
      assert.deepEqual(await page.evaluate(frame), seen.frame, name);
      const parts = await page.evaluate(shown, PARTS);
      const both = PARTS.filter((part) => parts[part] && seen.shown[part]);
      assert.ok(both.length >= 7, `${name} shares ${both}`);
      for (const part of both) assert.equal(parts[part], seen.shown[part], `${part} of ${name}`);
      const own = await page.evaluate(used);
      assert.deepEqual(missing(own), [], `${name} uses classes that the style does not know`);
    }
  } finally {
    await page.close();
    await ours.stop();
  }
});

test("both read well at every width, in light and dark, as the service's page does", { skip: unbuilt }, async () => {
  if (!existsSync(join(dir, "report.html"))) written();
  service = await Service.start();
  const looks = (page) =>
    page.evaluate(() => {
      const of = (what, ...names) => names.map((name) => getComputedStyle(document.querySelector(what))[name]);
      return [of("html", "backgroundColor"), of("body", "fontFamily", "color"), of("h1", "fontFamily", "fontSize", "color"), of(".lead", "color", "fontSize")];
    });
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ colorScheme, viewport: { width: 1024, height: 768 } });
    const page = await context.newPage();
    await page.goto(await service.link((await service.person(`somebody in the ${colorScheme}`)).handle));
    const expected = await looks(page);
    // What the service's page still asks for ends with it.
    await page.goto("about:blank");
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    for (const name of ["report", "certificate"]) {
      await page.goto(String(pathToFileURL(join(dir, `${name}.html`))));
      assert.deepEqual(await looks(page), expected, name);
      await sound(page, `cli-${name}-in-${colorScheme}`);
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width: 320, height: 900 });
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `cli-${name}-${colorScheme}-320.png`), fullPage: true });
      await page.setViewportSize({ width: 1024, height: 768 });
    }
    const fetched = asked.filter((url) => !url.startsWith("file:"));
    assert.deepEqual(fetched, [], "nothing is fetched");
    await context.close();
  }
});
