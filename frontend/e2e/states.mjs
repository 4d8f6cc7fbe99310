// Nothing there, something wrong, something growing.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

export async function empty_logdir_says_how_to_start(page, base) {
  const frame = await open(page, base, {}, ".empty h1");
  const { hint } = await ask(base, "runs");
  const said = await frame.locator(".empty").textContent();
  for (const line of hint.split("\n")) assert.ok(said.includes(line.replaceAll("`", "")), line);
  await frame.locator(".code").hover();
  await frame.getByRole("button", { name: "Copy the two lines" }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /LossLensWriter\(/);
  assert.match(copied, /writer\.wrap\(/);
}

export async function missing_run_shows_the_servers_sentence(page, base) {
  const frame = await open(page, base, { run: "no such run" }, ".failure p");
  const response = await fetch(new URL("data/plugin/losslens/diagnosis?run=no%20such%20run", base));
  assert.equal(response.status, 404);
  assert.equal(await frame.locator(".verdict .failure p").textContent(), (await response.text()).trim());
  await page.waitForTimeout(500);
  assert.equal(await frame.locator(".failure").count(), 1, "one thing went wrong, and it is said once");
  assert.equal(await frame.getByText("Reading").count(), 0, "nothing waits for what will not come");
  assert.equal(await frame.locator(".select").count(), 0, "nothing to choose for a run that is not there");
  await frame.locator(".run").first().click();
  await frame.locator(".verdict h1:not(.quiet)").waitFor();
  await frame.locator(".timeline .plot canvas").waitFor();
  assert.equal(await frame.locator(".failure").count(), 0);
}

/** The route keeps the name that TensorBoard gives it, ".", and the reader sees one. */
export async function a_run_without_a_name_is_called_by_its_directory(page, base, { label }) {
  const frame = await open(page, base);
  assert.equal((await frame.locator(".run b").textContent()).trim(), label);
  assert.match(hashOf(page), /losslens\.run=\.(&|$)/);
  await frame.getByRole("button", { name: "Copy report" }).click();
  await frame.getByText("Copied").waitFor();
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())).startsWith(`## ${label.replaceAll("_", "\\_")}: `));
}

export async function what_was_not_recorded_says_how(page, base, { run }) {
  const { missing } = await ask(base, "timeline", { run });
  assert.deepEqual(missing.map(({ label }) => label), ["LR", "validation"]);
  const frame = await open(page, base, { run });
  for (const { label, how } of missing) {
    const lane = frame.locator(".timeline .lane").filter({ has: frame.locator(".name", { hasText: label }) });
    await lane.waitFor();
    assert.equal(await lane.locator("code").textContent(), how);
  }
}

export async function a_lost_connection_can_be_tried_again(page, base, { run }) {
  await page.route(/\/lens\?/, (route) => route.abort());
  const frame = await open(page, base, { run });
  await frame.locator(".lens .failure", { hasText: "does not answer" }).waitFor();
  await page.unroute(/\/lens\?/);
  await frame.locator(".lens").getByRole("button", { name: "Try again" }).click();
  await frame.locator(".lens circle.dot").first().waitFor();
  assert.equal(await frame.locator(".failure").count(), 0);
}

/** The run is being written by the test around this; it must be seen to grow, and rest while the tab is hidden. */
export async function live_run_grows(page, base, { run }) {
  const frame = await open(page, base, { run });
  const seen = async () => Number((await frame.locator(".facts").textContent()).replace(/\u202f/g, "").match(/^(\d+)/)[1]);
  const first = await eventually(async () => {
    await frame.locator(".run[aria-selected=true] em").waitFor();
    return seen();
  });
  const second = await eventually(async () => {
    const now = await seen();
    assert.ok(now > first);
    return now;
  }, 15_000);
  await eventually(async () => assert.ok((await seen()) > second), 15_000);
  await page.locator("app-header [role=tab]", { hasText: /time series|scalars/i }).first().click();
  let asked = 0;
  await page.waitForTimeout(1200);
  page.on("request", (request) => {
    if (request.url().includes("/plugin/losslens/")) asked += 1;
  });
  await page.waitForTimeout(3000);
  assert.equal(asked, 0, "a hidden tab asks nothing");
  await page.locator("app-header [role=tab]", { hasText: /losslens/i }).first().click();
  await frameOf(page);
  await eventually(() => assert.ok(asked > 0));
}

export async function plain_run_shows_its_scalar(page, base, { run, tag, points }) {
  const frame = await open(page, base, { run }, ".lane path");
  assert.ok((await frame.locator(".verdict h1").textContent()).includes(run));
  assert.equal((await frame.locator(".lane path").getAttribute("d")).match(/[ML]/g).length, points);
  assert.equal(await frame.getByLabel("Scalar", { exact: true }).locator("select, option").first().textContent(), tag);
  await frame.locator(".code", { hasText: "LossLensWriter" }).waitFor();
}
