// Layers by batch: read by keys, zoomed with the timeline, and named where they were not recorded.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

const map = (frame) => frame.getByRole("group", { name: /by layer and batch/ });

export async function layers_are_read_cell_by_cell(page, base, { run }) {
  const layers = await ask(base, "layers", { run });
  const frame = await open(page, base, { run, view: "layers" });
  await map(frame).focus();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
  const value = layers.cells[1][1];
  const readout = frame.locator(".layers .readout");
  await eventually(async () => assert.ok((await readout.textContent()).startsWith(`${layers.names[1]} · batch`)));
  const said = Number(new RegExp(`${layers.label} ([\\d.e\u2212]+)`).exec(await readout.textContent())[1].replace("\u2212", "-"));
  assert.ok(Math.abs(said - value) <= 0.006 * value, `${said} is ${value}`);
  await page.keyboard.press("Enter");
  await frame.locator(".batch h2").waitFor();
  assert.match(hashOf(page), new RegExp(`view=batches.*batch=${layers.batch[1]}(&|$)`));
}

export async function layers_follow_the_timeline(page, base, { run }) {
  const { batches } = await ask(base, "timeline", { run });
  const frame = await open(page, base, { run, view: "layers" });
  await map(frame).locator("canvas").waitFor();
  const box = await map(frame).locator(".over").boundingBox();
  const above = await frame.locator(".timeline .over").boundingBox();
  assert.deepEqual([box.x, box.width], [above.x, above.width], "one x axis for both");
  const asked = page.waitForResponse((response) => /\/layers\?.*from=/.test(response.url()));
  await page.mouse.move(box.x + 0.25 * box.width, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.75 * box.width, box.y + 12, { steps: 5 });
  await page.mouse.up();
  const answer = await (await asked).json();
  assert.ok(Math.abs(answer.from / batches - 0.25) < 0.02 && Math.abs(answer.to / batches - 0.75) < 0.02, `${answer.from} to ${answer.to}`);
  await frame.getByRole("button", { name: "Whole run" }).click();
  await eventually(() => assert.ok(!hashOf(page).includes("from=")));
}

export async function the_signal_of_layers_is_in_the_link(page, base, { run }) {
  const frame = await open(page, base, { run, view: "layers" });
  const picture = () => map(frame).locator("canvas").evaluate((canvas) => canvas.toDataURL());
  await map(frame).locator("canvas").waitFor();
  await page.waitForTimeout(200);
  const before = await picture();
  await frame.getByLabel("Signal of the layers").selectOption("layer_update_ratio");
  await eventually(async () => assert.notEqual(await picture(), before));
  assert.match(hashOf(page), /view=layers.*signal=layer_update_ratio/);
  await page.reload();
  const again = await frameOf(page);
  assert.equal(await again.getByLabel("Signal of the layers").inputValue(), "layer_update_ratio");
}

export async function what_layers_lack_says_how(page, base, { run }) {
  const { missing } = await ask(base, "layers", { run });
  assert.equal(missing.length, 3);
  const frame = await open(page, base, { run, view: "layers" });
  const note = frame.locator(".layers .note");
  await note.first().waitFor();
  for (const { label, how } of missing) {
    assert.ok((await note.allTextContents()).some((text) => text.includes(label)));
    assert.ok((await note.locator("code").allTextContents()).includes(how));
  }
}
