// What is laid over the timeline or chosen in it: smoothing, other runs, the map of the whole run; kinds of findings; all boundaries at once.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

/** Pixels of one colour in the timeline. */
async function inked(frame, [r, g, b]) {
  return frame.locator(".timeline .plot canvas").evaluate(
    (canvas, [red, green, blue]) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 24) count += 1;
      return count;
    },
    [r, g, b],
  );
}

const [INK, DATA] = [[0x1c, 0x24, 0x30], [0x2a, 0x6f, 0xbb]];

export async function smoothing_leaves_the_raw_line(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(".timeline .plot canvas").waitFor();
  assert.equal(await inked(frame, INK), 0);
  await frame.getByLabel("smooth").selectOption("3");
  await frame.locator(".legend", { hasText: "smoothed over 3" }).waitFor();
  await eventually(async () => assert.ok((await inked(frame, INK)) > 200, "the smoothed line is in ink"));
  assert.ok((await inked(frame, DATA)) > 200, "and the raw one is there");
  assert.ok(hashOf(page).includes("smooth=3"));
  await page.reload();
  const again = await frameOf(page);
  await again.locator(".legend", { hasText: "smoothed over 3" }).waitFor();
  await again.getByLabel("smooth").selectOption("");
  await eventually(async () => assert.equal(await inked(again, INK), 0));
  assert.ok(!hashOf(page).includes("smooth="));
}

export async function other_runs_are_drawn_over_it(page, base, { run, other }) {
  const frame = await open(page, base, { run, runs: `${encodeURIComponent(run)}|${encodeURIComponent(other)}` });
  await frame.locator(".timeline .plot canvas").waitFor();
  const asked = page.waitForResponse((response) => new URL(response.url()).searchParams.get("run") === other && /\/timeline\?/.test(response.url()));
  await frame.getByLabel("over it").selectOption({ label: "1 other run" });
  await asked;
  await frame.locator(".timeline .legend", { hasText: other }).waitFor();
  assert.ok(hashOf(page).includes("over=true"));
  await page.reload();
  const again = await frameOf(page);
  await again.locator(".timeline .legend", { hasText: other }).waitFor();
}

export async function the_window_moves_over_the_whole_run(page, base, { run, batches }) {
  const frame = await open(page, base, { run });
  await frame.locator(".timeline .plot canvas").waitFor();
  assert.equal(await frame.locator(".map").count(), 0, "no map of what is seen in full");
  const at = await open(page, base, { run, from: 2000, to: 4000 });
  const map = at.locator(".map");
  await map.locator("path").waitFor();
  const box = await map.locator("svg").boundingBox();
  const shown = await map.locator("rect").evaluate((rect) => [Number(rect.getAttribute("x")), Number(rect.getAttribute("width"))]);
  assert.ok(Math.abs(shown[1] / box.width - 2000 / batches) < 0.01, `${shown} of ${box.width}`);
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.up();
  await eventually(() => {
    const [from, to] = ["from", "to"].map((name) => Number(new RegExp(`losslens.${name}=(\\d+)`).exec(hashOf(page))?.[1]));
    assert.equal(to - from, 2000);
    assert.ok(Math.abs((from + to) / 2 - batches / 2) < 0.01 * batches, `${from} to ${to}`);
  });
}

export async function findings_are_filtered_by_kind(page, base) {
  let [run, findings, kinds] = ["", [], []];
  for (const row of (await ask(base, "runs")).runs.filter(({ plain }) => !plain)) {
    if (kinds.length > 1) break;
    run = row.run;
    ({ findings } = await ask(base, "diagnosis", { run }));
    kinds = [...new Set(findings.map(({ kind }) => kind))];
  }
  assert.ok(kinds.length > 1, "a run has findings of several kinds");
  const frame = await open(page, base, { run });
  const titles = async () => (await frame.locator(".finding:not(.quiet) h3").allTextContents());
  const buttons = frame.getByRole("group", { name: "Kinds of findings" }).getByRole("button");
  await eventually(async () => assert.equal(await buttons.count(), kinds.length));
  await buttons.nth(1).focus();
  await page.keyboard.press("Enter");
  await eventually(async () => assert.deepEqual(await titles(), findings.filter(({ kind }) => kind === kinds[1]).map(({ title }) => title)));
  assert.equal(await buttons.nth(1).getAttribute("aria-pressed"), "true");
  assert.ok(hashOf(page).includes(`kind=${kinds[1]}`));
  await buttons.nth(1).click();
  await eventually(async () => assert.deepEqual(await titles(), findings.map(({ title }) => title)));
}

export async function boundaries_are_laid_over_each_other(page, base, { run, few }) {
  const { all } = await ask(base, "lens", { run, boundary: 1 });
  const frame = await open(page, base, { run, boundary: 1 });
  await frame.locator(".stack figcaption", { hasText: `${all.count} boundaries laid over each other` }).waitFor();
  await frame.locator(".stack figure canvas").waitFor();
  // The cut of the boundary above goes on in it.
  const [cut, line] = await frame.locator(".stack").evaluate((stack) => {
    const path = stack.querySelector("path.cut").getBoundingClientRect();
    const over = stack.querySelector("figure .over").getBoundingClientRect();
    return [path.left, over.left + over.width / 2];
  });
  assert.ok(Math.abs(cut - line) < 2, `${cut} ${line}`);
  const other = await open(page, base, { run: few, boundary: 0 });
  await other.locator(".stack .note", { hasText: "three boundaries or more" }).waitFor();
}

export async function waits_and_modes_have_lanes(page, base, { run }) {
  const { more } = await ask(base, "timeline", { run });
  assert.ok(more.length > 0);
  const frame = await open(page, base, { run });
  for (const { label } of more) await frame.locator(".timeline .lane", { hasText: label }).locator("path").waitFor();
}

export async function findings_of_all_runs_are_counted(page, base, { run }) {
  const frame = await open(page, base, { run, view: "compare" });
  await frame.locator(".shared li").first().waitFor();
  const runs = (await ask(base, "runs")).runs.filter(({ plain }) => !plain).slice(0, 24);
  const query = runs.map((row) => `run=${encodeURIComponent(row.run)}`).join("&");
  const compared = await (await fetch(new URL(`data/plugin/losslens/compare?${query}`, base))).json();
  const keys = new Set(compared.runs.flatMap(({ findings }) => findings.map(({ kind, cause }) => `${kind}/${cause}`)));
  assert.equal(await frame.locator(".shared li").count(), keys.size);
}
