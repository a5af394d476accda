// How a page looks: to a reader of screens, and at every width.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** What axe finds. */
export async function violations(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((values) => axe.run({ runOnly: { type: "tag", values } }), TAGS);
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
}

/** Words of which a part stands in the next line, but in what is no prose. */
function broken() {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const parent = text.parentElement;
    if (!parent.checkVisibility() || parent.closest("pre, code, textarea, script, style, bdi, .hidden")) continue;
    for (const { 0: word, index } of text.data.matchAll(/\p{L}{2,}/gu)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      const lines = new Set([...range.getClientRects()].filter(({ width }) => width > 0).map(({ top }) => Math.round(top)));
      if (lines.size > 1) found.push(word);
    }
  }
  return found;
}

/** Nothing is wider than the window, however wide that is, and no word is cut by the end of a line. */
export async function narrow(page, name) {
  for (const width of [320, 1440, 768]) {
    await page.setViewportSize({ width, height: 900 });
    const [needed, there] = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth];
    });
    assert.equal(needed, there, `${name} at ${width} px`);
    assert.deepEqual(await page.evaluate(broken), [], `${name} at ${width} px: words in two lines`);
  }
}

/** No violation that axe finds, in the light and in the dark, and no sideways scrolling. */
export async function sound(page, name) {
  for (const colorScheme of ["dark", "light"]) {
    // While colours change they are of neither.
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    assert.deepEqual(await violations(page), [], `${name} in the ${colorScheme}`);
  }
  await narrow(page, name);
  const { SHOTS } = process.env;
  for (const colorScheme of SHOTS ? ["dark", "light"] : []) {
    // A picture of a page that changes its colours would be of neither.
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(SHOTS, `${name}-${colorScheme}.png`), fullPage: true, style: ".selection { position: static }" });
  }
}
