// What the page costs in the browser: first paint, frames while zooming and panning, memory. Prints one line of JSON.

import { readFile } from "node:fs/promises";
import { address } from "./browser.mjs";

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const share = (values, at) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(at * values.length))];

/** Frame times in `frame` while `act` runs, in ms; the browser draws no frame where nothing changes, so one is asked for at each. */
async function frames(frame, act) {
  await frame.evaluate(() => {
    window.frameTimes = [];
    let last = performance.now();
    window.counting = true;
    const tick = (now) => {
      window.frameTimes.push(now - last);
      last = now;
      if (window.counting) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  await act();
  return frame.evaluate(() => {
    window.counting = false;
    return window.frameTimes.slice(2);
  });
}

/** Turns the wheel over the middle of `box` as a hand does: many small turns, in and out and to both sides. */
async function turn(page, box, turns = 40) {
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (const [x, y, ctrl] of [[0, -12, true], [14, 0, false], [-14, 0, false], [0, 12, true]]) {
    if (ctrl) await page.keyboard.down("Control");
    for (let count = 0; count < turns; count += 1) await page.mouse.wheel(x, y);
    if (ctrl) await page.keyboard.up("Control");
  }
}

async function heap(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.enable").then(() => session.send("Performance.getMetrics"));
  await session.detach();
  return metrics.find(({ name }) => name === "JSHeapUsedSize").value / 2 ** 20;
}

async function opened(page, base, place, ready) {
  await page.goto("about:blank");
  await page.goto(address(base, place));
  const frame = await (await page.waitForSelector("iframe[src*='name=losslens']")).contentFrame();
  await frame.waitForSelector(ready);
  return frame;
}

/** Our page: ms from the frame's start to verdict and curve, frames over timeline and map of layers, MiB of the heap. */
export async function page_costs(page, base, { run, loads }) {
  await page.addInitScript(() => {
    if (!location.href.includes("plugin_entry")) return;
    const look = () => {
      if (document.querySelector(".verdict h1:not(.quiet)") && document.querySelector(".timeline .plot canvas")) requestAnimationFrame(() => (window.usefulPaint = performance.now()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  const paints = [];
  for (let load = 0; load <= loads; load += 1) {
    const frame = await opened(page, base, { run }, ".timeline .plot canvas");
    paints.push(await (await frame.waitForFunction(() => window.usefulPaint)).jsonValue());
  }
  const frame = await opened(page, base, { run }, ".lens .row");
  await page.waitForTimeout(1000);
  const box = await (await frame.$(".timeline .over")).boundingBox();
  const times = await frames(frame, () => turn(page, box));
  for (const view of ["epochs", "batches", "layers", "compare"]) {
    await (await frame.$(`#tab-${view}`)).click();
    await page.waitForTimeout(500);
  }
  process.stdout.write(JSON.stringify({ paint: median(paints.slice(1)), frame: median(times), late: share(times, 0.95), frames: times.length, heap: await heap(page) }) + "\n");
}

/** When the timeline showed how many batches, as [seconds since 1970, batches] from the first sight on. */
export async function live_sights(page, base, { run, seconds }) {
  const frame = await opened(page, base, { run }, ".timeline .plot canvas");
  await frame.evaluate(() => {
    window.sights = [];
    let last = "";
    const look = () => {
      const said = document.querySelector(".timeline .plot").getAttribute("aria-label");
      if (said !== last) window.sights.push([Date.now() / 1000, Number(/^Loss of ([\d\u202f]+)/.exec(said)[1].replace(/\u202f/g, ""))]);
      last = said;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.waitForTimeout(1000 * seconds);
  const sights = await frame.evaluate(() => window.sights);
  process.stdout.write(JSON.stringify(sights.filter(([, count], at) => at === 0 || count > sights[at - 1][1])) + "\n");
}

/** TensorBoard's own tab on the same run: ms from the address to its first chart. */
export async function time_series_costs(page, base, { loads }) {
  const paints = [];
  for (let load = 0; load <= loads; load += 1) {
    await page.goto("about:blank");
    const start = Date.now();
    await page.goto(`${base}#timeseries`);
    await page.waitForSelector("line-chart .series-view svg path, line-chart canvas, .vz-chart path", { timeout: 60_000 });
    paints.push(Date.now() - start);
  }
  process.stdout.write(JSON.stringify({ paint: median(paints.slice(1)), heap: await heap(page) }) + "\n");
}

/** Plotly on the same numbers (`series`: a file with {x, y}): ms to load and draw, and frames while its wheel zooms. */
export async function plotly_costs(page, base, { script, series, loads }) {
  page.setDefaultTimeout(300_000);
  const numbers = JSON.parse(await readFile(series, "utf8"));
  const paints = [];
  for (let load = 0; load <= loads; load += 1) {
    await page.goto("about:blank");
    // The numbers are there before the clock starts: how they travel is not Plotly's.
    await page.evaluate((given) => (window.series = given), numbers);
    const start = Date.now();
    await page.addScriptTag({ path: script });
    await page.evaluate(async () => {
      const { x, y } = window.series;
      const webgl = document.createElement("canvas").getContext("webgl") !== null;
      document.body.innerHTML = "<div id=plot style='width:900px;height:400px'></div>";
      await globalThis.Plotly.newPlot("plot", [{ x, y, type: webgl ? "scattergl" : "scatter", mode: "lines" }], {}, { scrollZoom: true });
    });
    paints.push(Date.now() - start);
  }
  const box = await (await page.$("#plot .nsewdrag, #plot")).boundingBox();
  const times = await frames(page, () => turn(page, box, 3));
  process.stdout.write(JSON.stringify({ paint: median(paints.slice(1)), frame: median(times), late: share(times, 0.95), heap: await heap(page) }) + "\n");
}
