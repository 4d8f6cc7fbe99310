// Runs side by side: which, in what order, and what a sweep shows.

import assert from "node:assert/strict";
import { ask, eventually, frameOf, hashOf, open } from "./browser.mjs";

const names = (frame) => frame.locator(".compared tbody b").allTextContents();
const runsIn = (page) => new URLSearchParams(new URL(page.url()).hash.slice(1)).get("p.losslens.runs")?.split("|").map(decodeURIComponent) ?? null;

export async function runs_are_compared(page, base, { run }) {
  const recorded = (await ask(base, "runs")).runs.filter((row) => !row.plain);
  const frame = await open(page, base, { run, view: "compare" });
  await frame.locator(".compared tbody tr").first().waitFor();
  const first = await names(frame);
  assert.deepEqual(first, recorded.slice(0, 24).map((row) => row.label), "those of the list");
  // Leaving one out, and taking it in again, are in the link; a name with any letter comes back as it was.
  const hostile = recorded.find((row) => row.label.includes("<script>")).label;
  await frame.getByRole("button", { name: `Leave out ${hostile}` }).click();
  await eventually(async () => assert.ok(!(await names(frame)).includes(hostile)));
  assert.deepEqual(runsIn(page), first.filter((name) => name !== hostile));
  await frame.getByLabel("Add a run").selectOption(hostile);
  await eventually(async () => assert.equal((await names(frame)).at(-1), hostile));
  const chosen = runsIn(page);
  await page.reload();
  const again = await frameOf(page);
  await again.locator(".compared tbody tr").first().waitFor();
  assert.deepEqual(await names(again), chosen);
  // A run is opened from here, and the comparison stays.
  const other = first.find((name) => name !== run && name !== hostile);
  await again.locator(".compared td:first-child button").nth(chosen.indexOf(other)).click();
  await eventually(async () => assert.equal(await again.locator(".run[aria-selected=true] b").textContent(), other));
  assert.deepEqual(await names(again), chosen);
  await again.getByRole("button", { name: "Only this run" }).click();
  await eventually(async () => assert.deepEqual(await names(again), [other]));
  await again.getByRole("button", { name: "All runs" }).click();
  await eventually(async () => assert.deepEqual(await names(again), first));
  assert.ok(!hashOf(page).includes("runs="));
}

export async function a_sweep_is_read_at_sight(page, base, { runs }) {
  const query = new URLSearchParams(runs.map((run) => ["run", run]));
  const response = await fetch(new URL(`data/plugin/losslens/compare?${query}`, base));
  const answer = await response.json();
  assert.equal(answer.sweep, "config.batch_size");
  const frame = await open(page, base, { run: runs[1], view: "compare", runs: [...runs].reverse().map(encodeURIComponent).join("|") });
  await frame.locator(".compared tbody tr").first().waitFor();
  assert.deepEqual(await names(frame), runs, "in the order of the setting, whatever the order of the link");
  assert.match(await frame.locator(".compare .told").textContent(), /differ in batch_size\. From batch_size 16 to 256 /);
  assert.deepEqual(await frame.locator(".compared tbody td:nth-child(6)").allTextContents(), ["16", "64", "256"]);
  const noise = answer.runs.map((row) => row.noise);
  assert.ok(noise[0] > noise[1] && noise[1] > noise[2], `${noise}`);
  assert.equal(await frame.locator(".compare .plot canvas").count(), 3);
  // As drawn: each line of losses lies in its cell.
  const inside = await frame.locator(".compared svg").evaluateAll((drawings) => drawings.every((svg) => [...svg.querySelectorAll("path")].every((path) => path.getBBox().y >= -1 && path.getBBox().y + path.getBBox().height <= 31)));
  assert.ok(inside);
}
