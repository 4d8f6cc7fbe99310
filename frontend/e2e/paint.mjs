// How soon there is something to read: from the frame's start to verdict and curve, on a warm server.

import assert from "node:assert/strict";
import { address } from "./browser.mjs";

export async function first_useful_paint(page, base, { run, limit, loads = 7 }) {
  await page.addInitScript(() => {
    if (!location.href.includes("plugin_entry")) return;
    const look = () => {
      const read = document.querySelector(".verdict h1:not(.quiet)") && document.querySelector(".plot canvas");
      // The next frame is the one in which it is on the screen.
      if (read) requestAnimationFrame(() => (window.usefulPaint = performance.now()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  const times = [];
  for (let load = 0; load < loads; load += 1) {
    await page.goto("about:blank");
    await page.goto(address(base, { run }));
    const frame = await (await page.waitForSelector("iframe[src*='name=losslens']")).contentFrame();
    times.push(await (await frame.waitForFunction(() => window.usefulPaint)).jsonValue());
  }
  const sorted = times.slice(1).sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  process.stdout.write(`first useful paint: median ${median.toFixed(0)} ms, best ${sorted[0].toFixed(0)} ms, worst ${sorted.at(-1).toFixed(0)} ms of ${sorted.length} loads\n`);
  assert.ok(sorted[0] < limit, `${sorted[0]} ms`);
}
