// The report and the certificate that the command line writes as pages look as the service's own do.
//   KEYFALL=PATH [CHROMIUM=PATH] [SHOTS=DIRECTORY] node --test report.test.mjs
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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

test("both read well at every width, in light and dark, as the service's page does", { skip: unbuilt }, async () => {
  written();
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
