// On paper, and read from right to left.
//   KEYFALLD=PATH [CHROMIUM=PATH] [SHOTS=DIRECTORY] node --test looks.test.mjs
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, SAID, Service, unbuilt } from "./kit.mjs";
import { narrow, violations } from "./looks.mjs";

let [service, browser] = [];
const { SHOTS } = process.env;

before(async () => {
  if (unbuilt) return;
  service = await Service.start();
  browser = await chromium.launch(CHROMIUM);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Every kind of page, each shown to `look`. */
async function each(name, look) {
  const { handle, ids } = await service.person(name);
  await service.open(handle, ids[0], "support desk", "a complaint");
  const letter = { "Keyfall-Class": "letter", "Content-Type": "application/octet-stream" };
  await service.ask("POST", `/v1/users/${handle}/records`, Buffer.alloc(5000), letter);
  const context = await browser.newContext({ bypassCSP: true, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(await service.link(handle));
  await look(page, "enter");
  await page.click("text=Open my page");
  await page.locator("button[name=day]").last().click();
  await look(page, "ask");
  await page.click("text=Erase in 7 days");
  await look(page, "later");
  await page.click("text=Back to what is kept");
  await look(page, "list");
  await page.click("button[name=all]");
  await page.click("text=Erase in 7 days");
  await look(page, "later-all");
  await page.click("text=Back to what is kept");
  await page.locator("button[name=plan]").last().click();
  await page.locator("button[name=one]").last().click();
  await page.click("text=Erase now, for good");
  await look(page, "done");
  for (const [at, title] of [["/page/proofs", "proofs"], ["/page/check", "check"], ["/page/keep", "keep"], ["/page/sure", "sure"]]) {
    await page.goto(service.base + at);
    await look(page, title);
  }
  await page.goto(`${service.base}/page/done/99`);
  await look(page, "error");
  await context.close();
}

/** As wide as A4 is between its margins. */
const PAPER = 718;

test("on paper nothing is cut, nothing is to be pressed, and what was folded is open", { skip: unbuilt }, async () => {
  await each("ada", async (page, name) => {
    await page.setViewportSize({ width: PAPER, height: 1000 });
    // A browser in the dark prints in the light.
    await page.emulateMedia({ media: "print", colorScheme: "dark", reducedMotion: "reduce" });
    const found = await page.evaluate(() => {
      const shown = (one) => one.checkVisibility() && one.getClientRects().length > 0;
      const all = [...document.querySelectorAll("body *")].filter(shown);
      const cut = all.filter((one) => {
        const { left, right } = one.getBoundingClientRect();
        return left < -1 || right > innerWidth + 1 || (one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0);
      });
      const name = (one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`;
      return {
        cut: cut.map(name),
        controls: all.filter((one) => one.matches("button, .button, input, select, textarea, audio, nav")).map(name),
        folded: [...document.querySelectorAll("details > :not(summary)")].filter((one) => !shown(one)).map(name),
        // The address of a link says nothing on paper; it is no link there, and what it leads to is named.
        links: all.filter((one) => one.matches("a") && getComputedStyle(one).textDecorationLine !== "none").map(name),
        paper: getComputedStyle(document.documentElement).backgroundColor,
        ink: getComputedStyle(document.body).color,
      };
    });
    const { paper, ink, ...lost } = found;
    assert.deepEqual(lost, { cut: [], controls: [], folded: [], links: [] }, name);
    assert.deepEqual([paper, ink], ["rgb(255, 255, 255)", "rgb(29, 35, 33)"], name);
    assert.deepEqual(await violations(page), [], name);
    const text = await page.innerText("body");
    if (name === "list") {
      for (const [said] of SAID) assert.ok(text.includes(said), said);
      assert.match(text, /support desk, for: a complaint/);
      assert.match(text, /One thing is going to be erased\s+On .*: all of \d+ /);
      assert.match(text, /“letter” \(5 KB\)/);
      assert.equal(text.match(/Recording, 0:30/g)?.length, SAID.length, "recordings leave a trace on paper");
      assert.doesNotMatch(text, /Open it|Erase this day|Tick what|by this button/);
    }
    if (name === "later-all") assert.match(text, /Enter the code at\s+127\.0\.0\.1:\d+\/page\/receipt/);
    if (name === "done") assert.match(text, /Keyfall.*keyfall\/certificate@v1.*— .* /s);
    if (SHOTS) await page.screenshot({ path: join(SHOTS, `print-${name}.png`), fullPage: true });
    await page.emulateMedia({ media: "screen", colorScheme: "light" });
  });
});

test("no word of the other language is cut, at any width", { skip: unbuilt }, async () => {
  const { handle } = await service.person("cem");
  const page = await browser.newPage();
  await page.goto(await service.link(handle, { language: "de" }));
  await narrow(page, "the way in");
  await page.click("button.main");
  for (const at of ["", "/keep", "/sure", "/proofs", "/check", "/done/9"]) {
    await page.goto(`${service.base}/page${at}`);
    assert.equal(await page.getAttribute("html", "lang"), "de");
    await narrow(page, at);
  }
  await page.goto(`${service.base}/page`);
  await page.locator("button[name=day]").first().click();
  await narrow(page, "what would go");
  await page.click("button.danger");
  await narrow(page, "what went");
  await page.close();
});

/** What has a side: where it begins and ends, measured from where a line begins. */
const SIDED =
  ".turn, .pick, .said, .drop, .day header h2, .day header button, .selection, .card, .note, .choice, .bar form, .bar a," +
  ".result > .icon, .counts li, .facts dt, .facts dd, footer, h1, .check input, .radios input, .done .icon, blockquote, .filters label";

test("from right to left everything is mirrored, at every width", { skip: unbuilt }, async () => {
  await each("bea", async (page, name) => {
    await narrow(page, `${name} from left to right`);
    for (const width of [320, 768, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      const measured = (direction) =>
        page.evaluate(([direction, sided]) => {
          document.documentElement.dir = direction;
          const rtl = direction === "rtl";
          const width = document.documentElement.clientWidth;
          return [...document.querySelectorAll(sided)].filter((one) => one.checkVisibility()).map((one) => {
            const { left, right } = one.getBoundingClientRect();
            const style = getComputedStyle(one);
            const edges = [rtl ? width - right : left, rtl ? width - left : right];
            const [start, end] = rtl ? ["Right", "Left"] : ["Left", "Right"];
            const styles = [`padding${start}`, `padding${end}`, `border${start}Width`].map((name) => style[name]);
            return { what: `${one.tagName}.${one.className} ${styles}`, edges };
          });
        }, [direction, SIDED]);
      const ltr = await measured("ltr");
      const rtl = await measured("rtl");
      assert.ok(ltr.length > 0);
      const names = (all) => all.map(({ what }) => what);
      assert.deepEqual(names(rtl), names(ltr), `${name} at ${width}`);
      // A text is as wide as its letters: half a pixel is rounded up on one side and down on the other.
      const apart = ltr.filter(({ edges }, n) => edges.some((edge, i) => Math.abs(edge - rtl[n].edges[i]) >= 1));
      assert.deepEqual(apart, [], `${name} at ${width}`);
      if (SHOTS && width !== 1440) await page.screenshot({ path: join(SHOTS, `rtl-${name}-${width}.png`), fullPage: true });
    }
    await narrow(page, `${name} from right to left`);
    const pointing = await page.evaluate(() => [...document.querySelectorAll(".done .icon")].map((one) => getComputedStyle(one).scale));
    assert.deepEqual(pointing, pointing.map(() => "-1 1"), "what points on points to where a line goes on");
    await page.evaluate(() => (document.documentElement.dir = "ltr"));
  });
});
