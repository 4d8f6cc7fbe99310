// The boundary lens: opened by marks and keys, and showing what the server measured.

import assert from "node:assert/strict";
import { ask, eventually, hashOf, open } from "./browser.mjs";

async function shows(frame, boundary) {
  await frame.locator(".lens h2", { hasText: new RegExp(`^Boundary ${boundary.index + 1}$`) }).waitFor();
  await frame.locator(".lens .sub", { hasText: `epoch ${boundary.epoch - 1} → ${boundary.epoch}` }).waitFor();
}

export async function marks_open_the_lens(page, base, { run }) {
  const frame = await open(page, base, { run });
  const { boundaries } = await ask(base, "diagnosis", { run });
  const marks = frame.getByRole("group", { name: "Boundaries" }).getByRole("button", { name: /^Boundary/ });
  await marks.first().waitFor();
  assert.equal(await marks.count(), boundaries.length, "one mark for each boundary");
  const third = boundaries[2];
  await marks.nth(2).click();
  await shows(frame, third);
  const lens = await ask(base, "lens", { run, boundary: third.index });
  const losses = lens.columns[lens.names.indexOf("loss")].filter((value) => value !== null);
  await eventually(async () => assert.equal(await frame.locator(".lens circle.dot").count(), losses.length, "each batch is a dot"));
  const said = await frame.locator(".lens .row:not(:first-child) .words").allTextContents();
  assert.ok(said.length > 0 && said.every((text) => lens.signals.some((signal) => signal.said === text)), "each signal says what it did");
  assert.ok(hashOf(page).includes(`p.losslens.boundary=${third.index}`));
}

export async function keys_step_through_boundaries(page, base, { run }) {
  const { boundaries } = await ask(base, "diagnosis", { run });
  const frame = await open(page, base, { run, boundary: boundaries[1].index });
  await shows(frame, boundaries[1]);
  await frame.locator(".lens h2").click();
  await page.keyboard.press("ArrowRight");
  await shows(frame, boundaries[2]);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await shows(frame, boundaries[0]);
  await page.keyboard.press("ArrowLeft");
  await shows(frame, boundaries[0]);
  await frame.getByRole("button", { name: /^Next boundary/ }).click();
  await shows(frame, boundaries[1]);
}

export async function waterfall_adds_up(page, base, { run }) {
  const { boundaries } = await ask(base, "diagnosis", { run });
  const strongest = boundaries.reduce((a, b) => (Math.abs(b.z ?? 0) > Math.abs(a.z ?? 0) ? b : a));
  const frame = await open(page, base, { run, boundary: strongest.index });
  await frame.locator(".waterfall .bar").first().waitFor();
  const values = (await frame.locator(".waterfall .bar span").allTextContents()).map((text) => Number(text.replace("\u2212", "-")));
  const parts = values.slice(0, -1).reduce((sum, value) => sum + value, 0);
  assert.ok(Math.abs(parts - values.at(-1)) < 1e-9, `${values} adds up as it is written`);
  // As drawn: the last part ends where the jump ends.
  const ends = await frame.locator(".waterfall .room b").evaluateAll((bars) => bars.map((bar) => [bar.getBoundingClientRect().top, bar.getBoundingClientRect().bottom]));
  const [last, jump] = ends.slice(-2);
  assert.ok(Math.min(...last.flatMap((y) => jump.map((other) => Math.abs(y - other)))) <= 1.5, "the drawn parts end at the jump");
}

export async function evidence_is_shown_where_it_is_drawn(page, base, { run }) {
  const frame = await open(page, base, { run });
  const { findings } = await ask(base, "diagnosis", { run });
  const line = frame.locator(".finding .evidence button").first();
  await line.click();
  assert.equal(await line.getAttribute("aria-pressed"), "true");
  const place = findings[0].evidence_at.find((item) => item !== null);
  const text = findings[0].evidence[findings[0].evidence_at.indexOf(place)];
  assert.equal((await line.textContent()).replaceAll("`", ""), text.replaceAll("`", ""));
  if (place.signal !== null) await frame.locator(".row.lit, .lane.lit").first().waitFor();
}

/** No line where nothing was read, and no word of "steady" or of a change. */
export async function one_side_is_drawn_as_such(page, base, { run, boundary }) {
  const frame = await open(page, base, { run, boundary });
  const row = frame.locator(".lens .row").filter({ has: frame.locator(".name", { hasText: "grad norm" }) });
  await row.waitFor();
  assert.equal(await row.locator(".words").textContent(), "read after the boundary only");
  assert.equal(await row.locator(".moved").count(), 0);
  const { cut, unread, first } = await row.evaluate((element) => {
    const at = (name) => element.querySelector(`path.${name}`).getAttribute("d");
    return { cut: Number(/^M([\d.]+)/.exec(at("cut"))[1]), unread: Number(/H([\d.]+)$/.exec(at("unread"))[1]), first: Number(/^M([\d.]+)/.exec(at("trace"))[1]) };
  });
  assert.ok(Math.abs(unread - cut) < 0.5 && first > cut, `${unread} ${cut} ${first}`);
}
