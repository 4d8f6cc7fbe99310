// Inside TensorBoard: dark mode, links in and out, tab switches.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

export async function dark_mode_follows_tensorboard(page, base) {
  const frame = await open(page, base);
  const colour = () => frame.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor);
  const light = await colour();
  assert.equal(light, "rgb(246, 247, 249)");
  await page.evaluate(() => document.body.classList.add("dark-mode"));
  await eventually(async () => assert.equal(await colour(), "rgb(27, 30, 35)"));
  await page.evaluate(() => document.body.classList.remove("dark-mode"));
  await eventually(async () => assert.equal(await colour(), light));
  // And by TensorBoard's own switch, wherever that is in this version.
  const toggle = page.locator("app-header-dark-mode-toggle button");
  if ((await toggle.count()) > 0) {
    await toggle.click();
    await page.getByRole("menuitemradio", { name: /dark/i }).or(page.getByText(/^Dark$/)).first().click();
    await eventually(async () => assert.equal(await colour(), "rgb(27, 30, 35)"));
  }
}

export async function link_survives_reload(page, base, { run }) {
  const { boundaries } = await ask(base, "diagnosis", { run });
  const frame = await open(page, base, { run, boundary: boundaries[1].index, from: 40, to: 200, axis: "step", scale: "log" });
  await frame.locator(".lens h2", { hasText: "Boundary 2" }).waitFor();
  const before = hashOf(page);
  await page.reload();
  const again = await frameOf(page);
  await again.locator(".lens h2", { hasText: "Boundary 2" }).waitFor();
  assert.equal(await again.locator(".run[aria-selected=true] b").textContent(), run);
  assert.equal(await again.getByRole("button", { name: "Whole run" }).isVisible(), true);
  assert.equal(await again.getByLabel("x axis").inputValue(), "step");
  assert.equal(await again.getByLabel("y axis").inputValue(), "log");
  assert.equal(hashOf(page), before);
}

export async function place_survives_another_tab(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(".lens h2", { hasText: /Boundary \d/ }).waitFor();
  const before = await frame.locator(".lens h2").textContent();
  const tab = (name) => page.locator("app-header .mat-mdc-tab, app-header .mat-tab-label, app-header [role=tab]", { hasText: name }).first();
  await tab(/scalars/i).click();
  await eventually(() => assert.ok(!hashOf(page).startsWith("#losslens")));
  await tab(/losslens/i).click();
  const again = await frameOf(page);
  assert.equal(await again.locator(".run[aria-selected=true] b").textContent(), run);
  assert.equal(await again.locator(".lens h2").textContent(), before);
}

export async function text_summary_opens_our_tab(page, base, { run }) {
  await page.goto(`${base}#text`);
  const link = page.locator(`a[href*="p.losslens.run="]`, { hasText: "LossLens" }).first();
  await link.waitFor();
  await link.click();
  const frame = await frameOf(page);
  assert.equal(await frame.locator(".run[aria-selected=true] b").textContent(), run);
  const { headline } = await ask(base, "diagnosis", { run });
  assert.ok((await frame.locator(".verdict h1").textContent()).startsWith(headline));
}

export async function hostile_names_never_execute(page, base) {
  const { runs } = await ask(base, "runs");
  const frame = await open(page, base);
  for (const { run, plain } of runs) {
    await frame.locator(".run b").filter({ hasText: run }).first().waitFor();
    const row = frame.locator(".run").nth((await frame.locator(".run b").allTextContents()).indexOf(run));
    assert.equal(await row.locator("b").textContent(), run);
    await row.click();
    await eventually(() => assert.equal(new URLSearchParams(new URL(page.url()).hash.slice(1)).get("p.losslens.run"), run));
    if (!plain) await frame.locator(".timeline .plot canvas").waitFor();
    const box = await row.boundingBox();
    assert.ok(box.width < 220, "a long name is cut");
  }
  const planted = await frame.locator("body").evaluate((body) => body.querySelectorAll("img, script:not([type=module]), b > :not(wbr), svg script").length);
  assert.equal(planted, 0);
  assert.equal(await page.evaluate(() => "pwned" in window), false);
}
