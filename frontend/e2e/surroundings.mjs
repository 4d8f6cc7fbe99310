// Where the page is read: inside a notebook, at twice the size, on paper; and what it says when the server fails.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { address, ask, eventually, frameOf, open } from "./browser.mjs";

const OURS = "iframe[src*='plugin_entry.html?name=losslens']";

/** Nothing is wider than the page, and no text lies beyond its right edge. */
async function fits(frame) {
  const [wide, room, beyond] = await frame.locator("body").evaluate((body) => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
    [...body.querySelectorAll("h1, h2, h3, p, .button, select, canvas")].filter((item) => item.getClientRects().length > 0 && item.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((item) => item.textContent),
  ]);
  assert.ok(wide <= room + 1, `${wide} in ${room}`);
  assert.deepEqual(beyond, []);
}

/** A notebook frames TensorBoard in a cell of 800 by 600 pixels, behind its proxy; TensorBoard is no longer the outermost page. */
export async function a_notebook_frames_it(page, base, { run }) {
  await page.goto(new URL(`/notebook?${encodeURIComponent(new URL(address(base, { run })).hash.slice(1))}`, base).href);
  const frame = page.frameLocator("iframe").frameLocator(OURS);
  await frame.locator(".verdict h1:not(.quiet)").waitFor();
  await frame.locator(".timeline .plot canvas").waitFor();
  const { headline } = await ask(base, "diagnosis", { run });
  assert.ok((await frame.locator(".verdict h1").textContent()).startsWith(headline));
  await fits(frame);
  await frame.locator("#tab-epochs").click();
  await frame.locator(".epochs .heat canvas").waitFor();
  await fits(frame);
}

/** A browser's zoom of 200 % is half as many pixels, each of twice the size. */
export async function twice_as_large_it_fits(page, base, { run, views }) {
  await page.setViewportSize({ width: 640, height: 480 });
  for (const view of views) {
    await page.goto("about:blank");
    const frame = await open(page, base, { run, view });
    await frame.locator(".closer .card:not([aria-busy=true]) :is(.told, .row, canvas)").first().waitFor();
    await fits(frame);
    for (const name of ["Copy report", "Export"]) await frame.getByLabel(name, { exact: true }).scrollIntoViewIfNeeded();
  }
}

/** On paper there is what can be read, and nothing that would have to be clicked. */
export async function it_can_be_printed(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(".lens .row").first().waitFor();
  await page.emulateMedia({ media: "print" });
  for (const gone of [".side", ".buttons", ".tabs", ".aside"]) assert.equal(await frame.locator(gone).first().isVisible(), false, gone);
  for (const there of [".verdict h1", ".timeline .plot canvas", ".lens .row", ".finding h3"]) assert.equal(await frame.locator(there).first().isVisible(), true, there);
  await fits(frame);
  await page.emulateMedia({ media: "screen" });
  await frame.locator("body").evaluate(() => window.addEventListener("beforeprint", () => (window.printed = true)));
  await frame.getByLabel("Export", { exact: true }).selectOption("Print");
  await eventually(async () => assert.equal(await frame.locator("body").evaluate(() => window.printed), true));
}

/** The server of the test around this fails until `mend` is asked for. */
export async function a_failure_is_said_and_can_be_tried_again(page, base, { run, mend }) {
  const frame = await open(page, base, { run, boundary: 1 });
  const failed = frame.locator(".lens .failure");
  await failed.waitFor();
  const response = await fetch(new URL(`data/plugin/losslens/lens?run=${run}&boundary=1`, base));
  assert.equal(response.status, 500);
  assert.equal(await failed.locator("p").textContent(), (await response.text()).trim());
  assert.match(await failed.locator("p").textContent(), /LossLens failed on this request \(ZeroDivisionError: nothing to divide by\)/);
  assert.equal(await frame.locator(".timeline .plot canvas").isVisible(), true, "what works is shown");
  rmSync(mend);
  await failed.getByRole("button", { name: "Try again" }).press("Enter");
  await frame.locator(".lens circle.dot").first().waitFor();
  assert.equal(await frame.locator(".failure").count(), 0);
  await page.reload();
  await (await frameOf(page)).locator(".lens circle.dot").first().waitFor();
}
