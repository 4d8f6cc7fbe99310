// A real Chromium on a real TensorBoard. What no page of ours may ever do is watched on every page.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Opens a browser, or a window of the one at LOSSLENS_BROWSER, gives its page to `scenario`, and fails if something executed, broke or asked another origin. */
export async function inBrowser(base, scenario) {
  const shared = process.env.LOSSLENS_BROWSER;
  const browser = shared ? await chromium.connect(shared) : await chromium.launch({ executablePath: process.env.LOSSLENS_CHROMIUM, args: FLAGS });
  const wrong = [];
  try {
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, permissions: ["clipboard-read", "clipboard-write"] });
    const page = await context.newPage();
    page.setDefaultTimeout(40_000);
    page.on("dialog", (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("pageerror", (error) => wrong.push(`uncaught: ${error.stack}`));
    page.on("console", (message) => {
      if (/Content Security Policy/i.test(message.text())) wrong.push(message.text());
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (/^https?:$/.test(url.protocol) && url.origin !== new URL(base).origin) wrong.push(`asked ${url.origin}`);
    });
    await scenario(page);
    assert.deepEqual(wrong, []);
  } finally {
    await browser.close();
  }
}

/** The address of our tab with a place in it. */
export function address(base, place = {}) {
  const fields = Object.entries(place).map(([key, value]) => `&p.losslens.${key}=${encodeURIComponent(value)}`);
  return `${base}#losslens${fields.join("")}`;
}

/** Opens our tab and gives its frame, once there is something to read in it. */
export async function open(page, base, place = {}, ready = ".verdict h1:not(.quiet)") {
  await page.goto(address(base, place));
  return frameOf(page, ready);
}

export async function frameOf(page, ready = ".verdict h1:not(.quiet)") {
  const frame = page.frameLocator("iframe[src*='plugin_entry.html?name=losslens']");
  await frame.locator(ready).first().waitFor();
  return frame;
}

/** JSON of one of our routes, asked apart from the page. */
export async function ask(base, route, params = {}) {
  const response = await fetch(new URL(`data/plugin/losslens/${route}?${new URLSearchParams(params)}`, base));
  assert.equal(response.status, 200, route);
  return response.json();
}

/** Tries again until `check` no longer throws. */
export async function eventually(check, timeout = 30_000) {
  const end = Date.now() + timeout;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export function hashOf(page) {
  return decodeURIComponent(new URL(page.url()).hash);
}
