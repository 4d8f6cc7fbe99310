// What axe finds wrong with the page: nothing.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { frameOf, open } from "./browser.mjs";

const SOURCE = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Opens each of `places`, light and dark, wide and narrow; `ready` says what must be there first. */
export async function axe_finds_nothing(page, base, { places, ready = ".verdict h1:not(.quiet), .empty h1, .failure" }) {
  const found = [];
  for (const [width, height] of [[1400, 900], [800, 1200]])
    for (const place of places) {
      await page.setViewportSize({ width, height });
      await page.goto("about:blank");
      await open(page, base, place, ready);
      for (const dark of [false, true]) {
        await page.evaluate((on) => document.body.classList.toggle("dark-mode", on), dark);
        await page.waitForTimeout(400);
        await frameOf(page, ready);
        const frame = page.frames().find((one) => one.url().includes("plugin_entry.html?name=losslens"));
        await frame.evaluate(SOURCE);
        // The region and heading rules are TensorBoard's: our page is a frame in its page.
        const { violations } = await frame.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
        for (const { id, nodes } of violations) found.push(`${JSON.stringify(place)} ${width} ${dark ? "dark" : "light"}: ${id} at ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
      }
    }
  assert.deepEqual(found, []);
}
