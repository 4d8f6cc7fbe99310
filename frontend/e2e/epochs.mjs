// The views below the timeline, and the first of them: epochs over each other.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

export async function views_are_chosen_by_keys(page, base, { run, views }) {
  const frame = await open(page, base, { run });
  const tabs = frame.getByRole("tablist", { name: "Look closer at" }).getByRole("tab");
  assert.deepEqual(await tabs.allTextContents(), views);
  await tabs.first().focus();
  for (const name of [...views.slice(1), views[0]]) {
    await page.keyboard.press("ArrowRight");
    await eventually(async () => assert.equal(await frame.getByRole("tab", { selected: true }).textContent(), name));
    assert.equal(await frame.locator(":focus").textContent(), name);
    await frame.locator(".closer .card:not([aria-busy=true]) h2").waitFor();
  }
  assert.ok(!hashOf(page).includes("view="), "the first view needs no word in the link");
  await frame.locator("body").evaluate(() => document.activeElement.blur());
  await frame.locator("h1").first().click();
  for (const [index, name] of views.entries()) {
    await page.keyboard.press(String(index + 1));
    await eventually(async () => assert.equal(await frame.getByRole("tab", { selected: true }).textContent(), name));
  }
}

export async function epochs_are_folded(page, base, { run }) {
  const fold = await ask(base, "fold", { run });
  const frame = await open(page, base, { run, view: "epochs" });
  await frame.locator(".told", { hasText: fold.said.slice(0, 40) }).waitFor();
  assert.equal(await frame.locator(".told").textContent(), fold.said);
  const map = frame.getByRole("group", { name: /^Loss by epoch and position/ });
  await map.focus();
  // The first key reads the first cell, each further one goes a cell on.
  for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
  const readout = frame.locator(".epochs .readout");
  const cell = fold.cells[1][3];
  await eventually(async () => assert.match(await readout.textContent(), new RegExp(`^epoch ${fold.epoch[1]} · batch(es)? ${fold.position[3]}`)));
  const said = Number(/loss ([\d.]+)/.exec(await readout.textContent())[1]);
  assert.ok(Math.abs(said - cell) <= 0.006 * Math.abs(cell), `${said} is ${cell}`);
  assert.ok(!hashOf(page).includes("from="));
  await page.keyboard.press("Enter");
  await eventually(() => assert.match(hashOf(page), /from=\d+/));
  const [from, to] = ["from", "to"].map((name) => Number(new RegExp(`losslens.${name}=(\\d+)`).exec(hashOf(page))[1]));
  const batch = fold.batch[1] + fold.position[3];
  assert.ok(from <= batch && batch < to, `${batch} is in ${from} to ${to}`);
}

/** The colours are those of the values: the highest cell of a row is the most amber, the lowest the most blue. */
export async function the_map_is_drawn_as_measured(page, base, { run }) {
  const fold = await ask(base, "fold", { run });
  const frame = await open(page, base, { run, view: "epochs" });
  const canvas = frame.locator(".heat canvas");
  await canvas.waitFor();
  await page.waitForTimeout(200);
  const row = 2;
  const values = fold.cells[row];
  const colours = await canvas.evaluate(
    (element, { row, rows, columns }) => {
      const over = element.parentElement.querySelector(".over");
      const ratio = element.width / element.clientWidth;
      const pen = element.getContext("2d");
      const y = over.offsetTop + ((row + 0.5) * over.offsetHeight) / rows;
      return columns.map((share) => [...pen.getImageData((over.offsetLeft + share * over.offsetWidth) * ratio, y * ratio, 1, 1).data]);
    },
    { row, rows: fold.cells.length, columns: fold.position.map((at, index) => ((at + (fold.position[index + 1] ?? fold.length)) / 2) / fold.length) },
  );
  const warmth = colours.map(([red, , blue]) => red - blue);
  const [high, low] = [values.indexOf(Math.max(...values)), values.indexOf(Math.min(...values))];
  assert.equal(warmth[high], Math.max(...warmth));
  assert.equal(warmth[low], Math.min(...warmth));
  assert.ok(warmth[high] > 60 && warmth[low] < -60, `${warmth[high]} ${warmth[low]}`);
}

export async function the_fold_is_in_the_link(page, base, { run }) {
  const frame = await open(page, base, { run, view: "epochs" });
  const picture = () => frame.locator(".heat canvas").evaluate((canvas) => canvas.toDataURL());
  await frame.locator(".heat canvas").waitFor();
  await page.waitForTimeout(200);
  const before = await picture();
  await frame.getByLabel("Colour").selectOption("value");
  await eventually(async () => assert.notEqual(await picture(), before));
  assert.match(hashOf(page), /view=epochs.*colour=value/);
  await page.reload();
  const again = await frameOf(page);
  assert.equal(await again.getByLabel("Colour").inputValue(), "value");
  assert.equal(await again.getByRole("tab", { selected: true }).textContent(), "Epochs");
}

export async function without_epochs_a_line_of_code_is_named(page, base, { run }) {
  const frame = await open(page, base, { run, view: "epochs" });
  await frame.locator(".epochs code", { hasText: "writer.wrap(train_loader)" }).waitFor();
  assert.equal(await frame.locator(".epochs canvas").count(), 0);
}
