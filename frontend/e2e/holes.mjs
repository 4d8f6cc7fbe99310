// What a recording lacks or holds in excess: lost batches, no finite loss, a loss of sixteen powers of ten.

import assert from "node:assert/strict";
import { ask, eventually, open } from "./browser.mjs";

/** The line of a plot, as where each column of pixels holds its colour, from left to right. */
async function inked(frame) {
  return frame.locator(".timeline .plot canvas").evaluate((canvas) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const [r, g, b] = [0x2a, 0x6f, 0xbb];
    const out = [];
    for (let x = 0; x < width; x += 1) {
      let seen = false;
      for (let y = 0; y < height && !seen; y += 1) {
        const at = 4 * (y * width + x);
        seen = Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b) < 40;
      }
      out.push(seen);
    }
    return out;
  });
}

export async function a_gap_is_not_bridged(page, base, { run, before, lost }) {
  const answer = await ask(base, "timeline", { run });
  assert.deepEqual(answer.gaps, { batch: [before], lost: [lost] });
  const { boundaries } = await ask(base, "diagnosis", { run });
  const boundary = boundaries.find((item) => item.batch === before);
  const frame = await open(page, base, { run, boundary: boundary.index });
  await frame.locator(".legend", { hasText: `${lost} batches lost` }).waitFor();
  await frame.locator(".lens .sub", { hasText: `epoch 0 → 2` }).waitFor();
  await frame.locator(".lens .lost", { hasText: `${lost} batches lost` }).waitFor();
  const columns = await inked(frame);
  const first = columns.indexOf(true);
  const last = columns.lastIndexOf(true);
  const hole = columns.slice(first, last).indexOf(false) / (last - first);
  assert.ok(Math.abs(hole - before / answer.batches) < 0.02, `the line is open at ${hole}`);
  const traces = await frame.locator(".lens .row .trace, .timeline .lane .trace").evaluateAll((paths) => paths.map((path) => path.getAttribute("d").match(/M/g).length));
  assert.ok(traces.length >= 2 && traces.every((pieces) => pieces === 2), `lanes and signals are open there: ${traces}`);
}

export async function no_finite_loss_is_crosses_everywhere(page, base, { run }) {
  const answer = await ask(base, "timeline", { run });
  assert.equal(answer.nonfinite.length, answer.columns[0].length);
  const frame = await open(page, base, { run });
  await frame.locator(".legend", { hasText: "no finite loss" }).waitFor();
  await frame.locator(".legend", { hasText: "not measured" }).waitFor();
  assert.equal(await frame.locator(".legend", { hasText: "within noise" }).count(), 0);
  assert.ok((await frame.locator(".lens .bad").count()) > 0);
  assert.ok(!(await frame.locator(".verdict").textContent()).includes("`"), "code is set as code");
  // The plot has crosses, and its axis no numbers that nothing stands for.
  const coloured = await frame.locator(".timeline .plot canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [crosses, labels] = [0, 0];
    for (let at = 0; at < data.length; at += 4) {
      if (data[at] > 180 && data[at + 1] < 110 && data[at + 2] < 60 && data[at + 3] > 200) crosses += 1;
      if (((at / 4) % canvas.width) < 60 * devicePixelRatio && data[at + 3] > 100) labels += 1;
    }
    return [crosses, labels];
  });
  assert.ok(coloured[0] > 100, `${coloured}`);
  assert.equal(coloured[1], 0, `${coloured}`);
}

/** On a linear axis all but the last losses would lie on one line. */
export async function lens_follows_the_timelines_scale(page, base, { run, boundary }) {
  const frame = await open(page, base, { run, boundary });
  const heights = async () => frame.locator(".lens circle.dot").evaluateAll((dots) => new Set(dots.map((dot) => Math.round(Number(dot.getAttribute("cy"))))).size);
  await frame.locator(".lens circle.dot").first().waitFor();
  const logarithmic = await heights();
  await frame.getByLabel("y axis").selectOption("linear");
  await eventually(async () => assert.ok((await heights()) < logarithmic / 2, `${logarithmic} heights on the log axis`));
}

export async function notes_are_read_where_they_stand(page, base, { run, notes }) {
  const frame = await open(page, base, { run });
  for (const note of notes) {
    const mark = frame.getByRole("img", { name: `note: ${note}` });
    await mark.focus();
    await frame.locator(".readout", { hasText: `note: ${note}` }).waitFor();
    await mark.blur();
    await frame.locator(".readout", { hasText: "click a mark" }).waitFor();
  }
  await frame.getByRole("img", { name: `note: ${notes[0]}` }).hover();
  await frame.locator(".readout", { hasText: `note: ${notes[0]}` }).waitFor();
}
