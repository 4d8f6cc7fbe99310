// Outlying batches: the table, one opened, and its way into link and timeline.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

const number = (text) => Number(text.replace(/\u202f/g, "").replace("\u2212", "-"));

async function column(frame, heading, nth = 0) {
  const headings = (await frame.locator(".batches th").allTextContents()).map((text) => text.replace(/ [↓↑]$/, ""));
  const at = headings.flatMap((text, index) => (text === heading ? [index] : []))[nth];
  return (await frame.locator(`.batches tbody td:nth-child(${at + 1})`).allTextContents()).map(number);
}

export async function batches_are_sorted(page, base, { run }) {
  const answer = await ask(base, "batches", { run });
  const frame = await open(page, base, { run, view: "batches" });
  await frame.locator(".batches .told").waitFor();
  assert.equal(await frame.locator(".batches .told").textContent(), answer.said);
  assert.equal(await frame.locator(".batches tbody tr").count(), answer.columns[0].length);
  const heading = (name) => frame.locator(".batches th").filter({ hasText: new RegExp(`^${name}`) }).first();
  await heading("batch").getByRole("button").click();
  assert.equal(await heading("batch").getAttribute("aria-sort"), "descending");
  const falling = [...answer.columns[0]].sort((a, b) => b - a);
  await eventually(async () => assert.deepEqual(await column(frame, "batch"), falling));
  await heading("batch").getByRole("button").press("Enter");
  await eventually(async () => assert.deepEqual(await column(frame, "batch"), [...falling].reverse()));
  await heading("off").getByRole("button").click();
  await eventually(async () => {
    const sizes = (await column(frame, "off")).map(Math.abs);
    const known = sizes.filter(Number.isFinite);
    assert.deepEqual(sizes.slice(0, known.length), [...known].sort((a, b) => b - a), "those that are not known come last");
  });
}

export async function a_batch_is_opened_by_keys(page, base, { run }) {
  const frame = await open(page, base, { run, view: "batches" });
  const rows = frame.locator(".batches tbody button");
  await rows.first().focus();
  await page.keyboard.press("ArrowDown");
  const text = await rows.nth(1).textContent();
  assert.equal(await frame.locator(":focus").textContent(), text);
  await page.keyboard.press("Enter");
  const batch = number(text);
  await frame.locator(".batch h2", { hasText: `Batch ${text}` }).waitFor();
  assert.match(hashOf(page), new RegExp(`view=batches.*batch=${batch}`));
  const one = await ask(base, "batch", { run, batch });
  const [, here] = await frame.locator(".numbers tbody tr").first().locator("td").allTextContents();
  assert.ok(Math.abs(number(here) - one.numbers[0].value) <= 0.006 * Math.abs(one.numbers[0].value), `${here}`);
  assert.equal(await frame.locator(".batch .sub", { hasText: "no finite loss" }).count(), one.numbers[0].name === "loss" ? 0 : 1);
  assert.equal(await frame.locator(".numbers tbody tr").count(), one.numbers.length);
  if (one.ids.length > 0) {
    assert.ok((await frame.locator(".ids").textContent()).startsWith(one.ids.slice(0, 3).join(", ")));
    await frame.getByText(one.visits.said).waitFor();
  }
  if (one.classes.length > 0) assert.equal(await frame.locator(".piece", { hasText: "Classes" }).locator("li").count(), one.classes.length);
  await page.reload();
  const again = await frameOf(page);
  await again.locator(".batch h2", { hasText: `Batch ${text}` }).waitFor();
  await again.getByRole("button", { name: "The batch after" }).click();
  await eventually(() => assert.match(hashOf(page), new RegExp(`batch=${batch + 1}`)));
  await again.getByRole("button", { name: "In the timeline" }).click();
  await eventually(() => assert.match(hashOf(page), /from=\d+/));
  await again.getByRole("button", { name: "Close" }).click();
  await eventually(() => assert.ok(!hashOf(page).includes("batch=")));
}

export async function what_a_batch_lacks_says_how(page, base, { run }) {
  const { missing } = await ask(base, "batch", { run, batch: 3 });
  assert.ok(missing.length > 3);
  const frame = await open(page, base, { run, view: "batches", batch: 3 });
  for (const { how } of missing) await frame.locator(".batch .note code", { hasText: how }).first().waitFor();
}

export async function a_batch_that_is_not_there(page, base, { run }) {
  const frame = await open(page, base, { run, view: "batches", batch: 999999999 });
  const response = await fetch(new URL(`data/plugin/losslens/batch?run=${run}&batch=999999999`, base));
  assert.equal(response.status, 404);
  assert.equal(await frame.locator(".batch .failure p").textContent(), (await response.text()).trim());
}
