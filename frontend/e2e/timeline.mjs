// The timeline: zoom to raw batches, axes, and a standard scalar laid under it.

import assert from "node:assert/strict";
import { ask, eventually, hashOf, open } from "./browser.mjs";

/** Drags over the plot from share `a` to share `b` of its width. */
async function drag(page, frame, a, b) {
  const box = await frame.locator(".timeline .over").boundingBox();
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + a * box.width, y);
  await page.mouse.down();
  await page.mouse.move(box.x + ((a + b) / 2) * box.width, y, { steps: 4 });
  await page.mouse.move(box.x + b * box.width, y, { steps: 4 });
  await page.mouse.up();
}

export async function zoom_shows_raw_batches(page, base, { run, batches }) {
  const frame = await open(page, base, { run });
  await frame.locator(".timeline .plot canvas").waitFor();
  await frame.locator(".legend", { hasText: "min to max" }).waitFor();
  const asked = page.waitForResponse((response) => /\/timeline\?.*from=/.test(response.url()));
  await drag(page, frame, 0.5, 0.52);
  const answer = await (await asked).json();
  assert.equal(answer.raw, true);
  assert.ok(Math.abs(answer.from / batches - 0.5) < 0.01 && Math.abs(answer.to / batches - 0.52) < 0.01, `${answer.from} to ${answer.to}`);
  await frame.locator(".legend", { hasText: "each batch" }).waitFor();
  assert.match(hashOf(page), new RegExp(`from=${answer.from}&p.losslens.to=${answer.to}`));
  await frame.locator(".timeline .over").hover();
  await eventually(async () => assert.match(await frame.locator(".readout").textContent(), /^epoch \d+ · step [\d\u202f]+ · loss [\d.]+$/));
  await frame.locator(".timeline .over").dblclick();
  await frame.locator(".legend", { hasText: "min to max" }).waitFor();
  assert.ok(!hashOf(page).includes("from="));
}

/** With Ctrl the wheel zooms around the pointer, sideways it pans, and alone it is the page's. */
export async function wheel_zooms_and_pans(page, base, { run, batches }) {
  const frame = await open(page, base, { run });
  await frame.locator(".timeline .plot canvas").waitFor();
  const box = await frame.locator(".timeline .over").boundingBox();
  const range = () => ["from", "to"].map((name) => new RegExp(`losslens.${name}=(\\d+)`).exec(hashOf(page))?.[1]).map(Number);
  const moved = async (act) => {
    const before = String(range());
    await act();
    await eventually(() => assert.notEqual(String(range()), before));
    return range();
  };
  await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2);
  await page.keyboard.down("Control");
  const [from, to] = await moved(() => page.mouse.wheel(0, -200));
  await page.keyboard.up("Control");
  assert.ok(to - from < 0.7 * batches && to - from > 0.5 * batches, `${from} to ${to}`);
  assert.ok(Math.abs(from + (to - from) / 4 - batches / 4) < 0.01 * batches, "the batch under the pointer stays");
  const [low, high] = await moved(() => page.mouse.wheel(box.width / 10, 0));
  assert.equal(high - low, to - from);
  assert.ok(Math.abs(low - from - (to - from) / 10) <= 2, `${low} after ${from}`);
  await page.setViewportSize({ width: 1400, height: 500 });
  const top = () => frame.locator(".verdict").evaluate((verdict) => verdict.getBoundingClientRect().top);
  const before = await top();
  await page.mouse.wheel(0, 120);
  await eventually(async () => assert.ok((await top()) < before, "the page scrolls"));
  assert.deepEqual(range(), [low, high]);
  await page.mouse.wheel(0, -400);
  await page.keyboard.down("Control");
  await moved(() => page.mouse.wheel(0, 500));
  await page.mouse.wheel(0, 500);
  await eventually(() => assert.ok(!hashOf(page).includes("from="), "all the way out is the whole run"));
  await page.keyboard.up("Control");
  await frame.locator(".legend", { hasText: "min to max" }).waitFor();
}

/** With Shift a drag moves what is seen, and the batch under the pointer goes with it. */
export async function drag_with_shift_pans(page, base, { run }) {
  const frame = await open(page, base, { run, from: 4000, to: 8000 });
  await frame.locator(".timeline .plot canvas").waitFor();
  const answer = page.waitForResponse((response) => /\/timeline\?.*from=/.test(response.url()) && !response.url().includes("from=4000&"));
  await page.keyboard.down("Shift");
  await drag(page, frame, 0.75, 0.5);
  await page.keyboard.up("Shift");
  const { from, to } = await (await answer).json();
  assert.equal(to - from, 4000);
  assert.ok(Math.abs(from - 5000) <= 40, `from ${from}`);
}

export async function axes_switch(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(".timeline .plot canvas").waitFor();
  const picture = () => frame.locator(".timeline .plot canvas").evaluate((canvas) => canvas.toDataURL());
  const before = await picture();
  await frame.getByLabel("x axis").selectOption("step");
  await eventually(async () => assert.ok(hashOf(page).includes("axis=step")));
  await eventually(async () => assert.ok((await picture()) !== before, "the x axis is drawn anew"));
  await frame.getByLabel("y axis").selectOption("log");
  await eventually(async () => assert.ok(hashOf(page).includes("scale=log")));
  await frame.locator(".timeline .plot canvas").waitFor();
  const logarithmic = await picture();
  await frame.getByLabel("y axis").selectOption("linear");
  await eventually(async () => assert.ok((await picture()) !== logarithmic, "the y axis is drawn anew"));
}

export async function scalar_is_laid_under(page, base, { run, tag }) {
  const frame = await open(page, base, { run });
  await frame.locator(`select option[value="=${tag}"]`).waitFor({ state: "attached" });
  await frame.getByLabel("under it").selectOption(`=${tag}`);
  const lane = frame.locator(".lane", { hasText: tag });
  await lane.locator("path").waitFor();
  assert.ok((await lane.locator("path").getAttribute("d")).length > 40);
  assert.ok(hashOf(page).includes(`scalar=${tag}`));
}

export async function keys_zoom_and_pan(page, base, { run, batches }) {
  const frame = await open(page, base, { run, boundary: 14 });
  await frame.locator(".timeline .plot canvas").waitFor();
  const range = () => ["from", "to"].map((name) => new RegExp(`losslens.${name}=(\\d+)`).exec(hashOf(page))?.[1]).map(Number);
  const press = async (key) => {
    const before = String(range());
    await frame.locator(".marks button[aria-pressed=true]").press(key);
    await eventually(() => assert.notEqual(String(range()), before));
    return range();
  };
  const { boundaries } = await ask(base, "diagnosis", { run });
  const { batch } = boundaries[14];
  const [from, to] = await press("+");
  assert.ok(to - from < 0.7 * batches && to - from > 0.5 * batches, `${from} to ${to}`);
  assert.ok(Math.abs((batch - from) / (to - from) - batch / batches) < 0.01, "the boundary stays where it is");
  const [low, high] = await press("Shift+ArrowRight");
  assert.equal(high - low, to - from);
  assert.ok(low > from);
  await press("-");
  await frame.locator(".marks button[aria-pressed=true]").press("-");
  await eventually(() => assert.ok(!hashOf(page).includes("from="), "all the way out is the whole run"));
}
