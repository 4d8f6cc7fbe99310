// What is read first: runs, verdict, findings; and that it fits.

import assert from "node:assert/strict";
import { ask, eventually, hashOf, open } from "./browser.mjs";

const ORDER = ["fault", "unknown", "artifact", "planned", "benign", "pending", "plain"];

/** The runs as the list has them: of many, those that most want to be read first. */
function inOrder(runs) {
  return runs.length > 12 ? [...runs].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)) : runs;
}

export async function verdict_is_shown(page, base) {
  const frame = await open(page, base);
  assert.equal(await page.locator(".plugin-title, .mat-mdc-tab, .mat-tab-label", { hasText: /^\s*LossLens\s*$/i }).first().isVisible(), true);
  const { runs } = await ask(base, "runs");
  const names = await frame.locator(".run b").allTextContents();
  assert.deepEqual(names, inOrder(runs).map((row) => row.run));
  await frame.getByLabel("Find runs").fill("cosine");
  await eventually(async () => assert.deepEqual(await frame.locator(".run b").allTextContents(), ["cosine_restarts"]));
  await frame.getByLabel("Find runs").fill("");
  const chosen = await frame.locator(".run[aria-selected=true] b").textContent();
  const best = runs.map((row) => ORDER.indexOf(row.kind)).filter((rank) => rank >= 0).sort()[0];
  assert.equal(ORDER.indexOf(runs.find((row) => row.run === chosen).kind), best, "opens on a run that wants to be read");
  const diagnosis = await ask(base, "diagnosis", { run: chosen });
  assert.ok((await frame.locator(".verdict h1").textContent()).startsWith(diagnosis.headline));
  assert.ok(hashOf(page).includes(`p.losslens.run=${chosen}`));
}

export async function findings_are_shown(page, base, { run }) {
  const frame = await open(page, base, { run });
  const diagnosis = await ask(base, "diagnosis", { run });
  const titles = await frame.locator(".finding h3").allTextContents();
  assert.deepEqual(titles.slice(0, diagnosis.findings.length), diagnosis.findings.map((finding) => finding.title));
  const best = diagnosis.findings[0];
  assert.ok((await frame.locator(".verdict").textContent()).includes(`What to do: ${best.advice.replaceAll("`", "")}`), "what to do is in the answer");
  const card = frame.locator(".finding").first();
  const lines = (await card.locator(".evidence li").allTextContents()).map((text) => text.replaceAll("`", ""));
  const against = best.against.length > 0 ? best.against : ["nothing found"];
  assert.deepEqual(lines, [...best.evidence, ...against].map((text) => text.replaceAll("`", "")));
  if (best.fix !== "") {
    await card.hover();
    await card.locator(".code", { hasText: best.fix.split("\n")[0].slice(0, 20) }).getByRole("button").click();
    await eventually(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), best.fix));
  }
  for (const { how } of diagnosis.skipped.filter((item) => item.how !== "")) await frame.locator(".code pre", { hasText: how.split("\n")[0] }).first().waitFor();
  await frame.getByText(`${diagnosis.checked.length} other cause`).waitFor();
  const measured = frame.locator("details li").first();
  assert.equal(await measured.isVisible(), false, "what was measured is told on demand");
  await frame.locator("summary").click();
  await measured.waitFor();
  assert.equal(await frame.locator("details li").count(), diagnosis.checked.length);
}

export async function report_and_link_are_copied(page, base, { run }) {
  const frame = await open(page, base, { run });
  const button = frame.getByRole("button", { name: "Copy report" });
  const before = await button.boundingBox();
  await button.click();
  await frame.getByText("Copied").waitFor();
  assert.deepEqual(await button.boundingBox(), before, "the header stands still");
  const { markdown } = await ask(base, "report", { run });
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), markdown);
  await frame.getByRole("button", { name: "Copy a link to this view" }).click();
  await eventually(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), page.url()));
}

export async function runs_are_chosen_by_keys(page, base) {
  const frame = await open(page, base);
  const runs = inOrder((await ask(base, "runs")).runs);
  await frame.getByRole("listbox").focus();
  await page.keyboard.press("Home");
  await eventually(async () => assert.equal(await frame.locator(".run[aria-selected=true] b").textContent(), runs[0].run));
  await page.keyboard.press("ArrowDown");
  await eventually(async () => assert.equal(await frame.locator(".run[aria-selected=true] b").textContent(), runs[1].run));
  const diagnosis = await ask(base, "diagnosis", { run: runs[1].run });
  await eventually(async () => assert.ok((await frame.locator(".verdict h1").textContent()).startsWith(diagnosis.headline)));
}

/** Two hundred runs: found by words, reached by keys, and none of those out of sight is laid out. */
export async function many_runs_are_listed(page, base, { count, last }) {
  const frame = await open(page, base);
  assert.equal(await frame.locator(".run").count(), count);
  const box = await frame.locator(".runs").boundingBox();
  assert.ok(box.height < 900, "the list scrolls, and not the page");
  const skipped = await frame.locator(".run").evaluateAll((rows) => rows.filter((row) => !row.firstElementChild.checkVisibility({ contentVisibilityAuto: true })).length);
  assert.ok(skipped > count - 60, `${skipped} of ${count} are not laid out`);
  await frame.getByRole("listbox").focus();
  await page.keyboard.press("End");
  await eventually(async () => assert.equal(await frame.locator(".run[aria-selected=true]").count(), 1));
  const chosen = frame.locator(".run[aria-selected=true]");
  await eventually(async () => {
    const [row, list] = [await chosen.boundingBox(), await frame.locator(".runs").boundingBox()];
    assert.ok(row.y >= list.y - 3 && row.y + row.height <= list.y + list.height + 3, `what is chosen is in sight: ${JSON.stringify([row, list])}`);
  });
  await frame.getByLabel("Find runs").fill(last);
  await eventually(async () => assert.deepEqual(await frame.locator(".run b").allTextContents(), [last]));
}

export async function nothing_overflows(page, base, { run, view }) {
  const frame = await open(page, base, { run, view, ...(view === "batches" ? { batch: 100 } : {}) });
  await frame.locator(view === "boundary" ? ".stack .row" : ".closer .card:not([aria-busy=true]) :is(canvas, td)").first().waitFor();
  for (const width of [800, 1024, 1280, 1400, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    await eventually(async () => {
      const body = frame.locator("body");
      assert.ok(await body.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `no horizontal scrolling at ${width}`);
      // Words at the right of a row begin after its plot and end inside the card.
      const clash = await body.evaluate(() =>
        [...document.querySelectorAll(".stack .row")].some((row) => {
          const stack = row.closest(".stack");
          const plot = row.querySelector("svg").getBoundingClientRect();
          const edge = stack.getBoundingClientRect().right;
          return [...row.querySelectorAll(".words")].some((words) => words.getBoundingClientRect().left < plot.right || words.getBoundingClientRect().right > edge + 1);
        }),
      );
      assert.equal(clash, false, `words and plots apart at ${width}`);
      const cut = await body.evaluate(() =>
        [...document.querySelectorAll(".verdict h1, .verdict p, .source, .facts, .readout, .name, .words, .sub, .note, .finding p, .finding li, .pill, .bar small, figcaption, .told, .part h3, .piece h3, .tabs button, .numbers td")]
          .filter((item) => item.scrollWidth > item.clientWidth + 1 || item.scrollHeight > item.clientHeight + 2)
          .filter((item) => getComputedStyle(item).display !== "inline")
          .map((item) => item.textContent),
      );
      assert.deepEqual(cut, [], `nothing is cut at ${width}`);
    });
    const top = (await frame.locator(".verdict").boundingBox()).y;
    assert.ok(top < 90, `the answer is on top at ${width}: ${top}`);
  }
}
