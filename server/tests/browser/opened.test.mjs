// What an application stores is no page of the service: its scripts run in nobody's name.
//   KEYFALLD=PATH [CHROMIUM=PATH] node --test opened.test.mjs
import assert from "node:assert/strict";
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

/** Reads the person's page, and erases everything. */
const SCRIPT = `fetch("/page").then((page) => page.text()).then((text) => {
  const csrf = /name="csrf" value="([^"]+)"/.exec(text)[1];
  return fetch("/page/erase/now", { method: "POST", body: new URLSearchParams({ csrf, all: "1" }) });
});`;

const PAGES = [
  ["application/xhtml+xml", (at) => `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p>text</p><script src="${at}"></script></body></html>`],
  ["image/svg+xml", (at) => `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script href="${at}"/></svg>`],
  ["text/html", (at) => `<!doctype html><title>t</title><script src="${at}"></script>`],
];

for (const [type, page] of PAGES) {
  test(`a script in what is stored as ${type} does not run`, { skip: unbuilt }, async () => {
    const { handle, ids } = await service.person(`ada of ${type}`);
    const put = (kind, body) => {
      const headers = { "Keyfall-Class": "file", "Content-Type": kind };
      return service.ask("POST", `/v1/users/${handle}/records`, body, headers);
    };
    const script = await put("text/javascript", SCRIPT);
    const asked = JSON.stringify({ purpose: "a test" });
    const { opening } = await service.ask("POST", `/v1/records/${script.id}/openings`, asked);
    // Its text is shown in the list unless readers of it are named; then there is a link to it.
    const named = JSON.stringify({ class: "file", readers_named: true });
    await service.tell("PUT", `/v1/users/${handle}/policies`, named);
    const { id } = await put(type, page(opening));

    const tab = await (await browser.newContext()).newPage();
    await tab.goto(await service.link(handle));
    await tab.click("text=Open my page");
    const link = tab.locator(".turn").first().locator("a[href^='/page/records/']");
    const saved = tab.waitForEvent("download");
    await link.click();
    await (await saved).path();
    assert.equal(new URL(tab.url()).pathname, "/page", "it is saved, and not shown");

    // A browser that shows it all the same runs nothing of it.
    const at = service.base + (await link.getAttribute("href"));
    await tab.route(at, async (route) => {
      const response = await route.fetch();
      const { "content-disposition": disposition, ...headers } = response.headers();
      assert.equal(disposition, "attachment");
      await route.fulfill({ response, headers });
    });
    const requests = [];
    tab.on("request", (request) => requests.push(new URL(request.url()).pathname));
    const shown = await tab.goto(at);
    assert.equal(shown.headers()["content-type"], type);
    await tab.waitForTimeout(1500);
    assert.deepEqual(requests.filter((path) => path !== "/favicon.ico"), [new URL(at).pathname]);
    for (const one of [...ids, id]) {
      await service.tell("HEAD", `/v1/records/${one}`);
    }
    await tab.context().close();
  });
}
