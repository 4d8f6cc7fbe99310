// Everything that can be exported is opened and compared with what the server says.

import assert from "node:assert/strict";
import { ask, open } from "./browser.mjs";

const READY = ".closer .card:not([aria-busy=true]) :is(.told, .row, canvas)";

async function exported(page, frame, label) {
  const download = page.waitForEvent("download");
  await frame.getByLabel("Export", { exact: true }).selectOption(label);
  const file = await download;
  const parts = [];
  // The browser may run elsewhere than this: its file is asked for, not looked up.
  for await (const part of await file.createReadStream()) parts.push(part);
  return { name: file.suggestedFilename(), bytes: Buffer.concat(parts) };
}

/** Fields of CSV without line breaks in them. */
function rows(bytes) {
  return bytes.toString().trimEnd().split("\r\n").map((line) => [...`${line},`.matchAll(/("(?:[^"]|"")*"|[^,]*),/g)].map(([, field]) => field.replace(/^"|"$/g, "").replaceAll('""', '"')));
}

const asText = (value) => (value === null || value === undefined ? "" : String(value));

/** The table that the file of each view must hold, from the answer of its route. */
const EXPECTED = {
  boundary: ["lens", (answer) => [[...answer.names, ...answer.signals.map(({ name }) => name)], answer.columns[0].map((_, row) => [...answer.columns, ...answer.signals.map(({ value }) => value)].map((column) => column[row]))]],
  epochs: ["fold", (answer) => [["epoch", ...answer.position], answer.cells.map((row, at) => [answer.epoch[at], ...row])]],
  batches: ["batches", (answer) => [answer.names, answer.columns[0].map((_, row) => answer.columns.map((column) => column[row]))]],
  layers: ["layers", (answer) => [["layer", ...answer.batch], answer.cells.map((row, at) => [answer.names[at], ...row])]],
};

export async function numbers_are_exported(page, base, { run, view }) {
  const frame = await open(page, base, { run, view, boundary: 1 });
  await frame.locator(READY).first().waitFor();
  const table = rows((await exported(page, frame, "View below, CSV")).bytes);
  if (view === "compare") {
    const recorded = (await ask(base, "runs")).runs.filter((row) => !row.plain).slice(0, 24);
    assert.deepEqual(table.slice(1).map((row) => row[0].replace(/^'/, "")), recorded.map((row) => row.run));
    assert.deepEqual(table.slice(1).map((row) => row[1]), recorded.map((row) => row.kind));
  } else {
    const [route, shape] = EXPECTED[view];
    const [names, expected] = shape(await ask(base, route, { run, ...(view === "boundary" ? { boundary: 1 } : {}) }));
    assert.deepEqual(table, [names.map(asText), ...expected.map((row) => row.map(asText))]);
  }
  const timeline = await exported(page, frame, "Timeline, CSV");
  assert.equal(timeline.name, `losslens-${run}-timeline.csv`);
  assert.deepEqual(rows(timeline.bytes)[0], ["batch", "step", "mean", "min", "max"]);
  assert.ok(rows(timeline.bytes).length > 100);
  const shown = JSON.parse((await exported(page, frame, "All that is shown, JSON")).bytes);
  assert.deepEqual(shown.diagnosis, await ask(base, "diagnosis", { run }));
  assert.equal(shown.place.view, view);
  const { markdown } = await ask(base, "report", { run });
  assert.equal((await exported(page, frame, "Report, markdown")).bytes.toString(), markdown);
}

/** The picture is drawn again and looked at: it has the page's size, its words, and the curve where the page has it. */
export async function pictures_are_exported(page, base, { run, view }) {
  const frame = await open(page, base, { run, view });
  await frame.locator(READY).first().waitFor();
  await page.waitForTimeout(300);
  for (const dark of [false, true]) {
    await page.evaluate((on) => document.body.classList.toggle("dark-mode", on), dark);
    await page.waitForTimeout(300);
    const size = await frame.locator("main").evaluate((main) => [main.getBoundingClientRect().width, main.getBoundingClientRect().height]);
    const svg = (await exported(page, frame, "Picture, SVG")).bytes.toString();
    const { headline } = await ask(base, "diagnosis", { run });
    assert.ok(svg.includes(headline.replaceAll("&", "&amp;")));
    assert.ok(!/<(script|link|img|canvas)\b|url\(\s*["']?http|@import/.test(svg), "it asks nobody for anything");
    const png = (await exported(page, frame, "Picture, PNG")).bytes;
    const seen = await page.evaluate(
      async ({ data, blue }) => {
        const picture = new Image();
        picture.src = `data:image/png;base64,${data}`;
        await picture.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [picture.width, picture.height];
        const pen = canvas.getContext("2d");
        pen.drawImage(picture, 0, 0);
        const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 0; at < pixels.length; at += 4) if (Math.abs(pixels[at] - blue[0]) + Math.abs(pixels[at + 1] - blue[1]) + Math.abs(pixels[at + 2] - blue[2]) < 12) count += 1;
        return { size: [picture.width, picture.height], corner: [...pixels.slice(0, 3)], blue: count };
      },
      { data: png.toString("base64"), blue: dark ? [0x7d, 0xb4, 0xee] : [0x2a, 0x6f, 0xbb] },
    );
    assert.ok(Math.abs(seen.size[0] - 2 * size[0]) <= 2 && Math.abs(seen.size[1] - 2 * size[1]) <= 2, `${seen.size} of ${size}`);
    assert.deepEqual(seen.corner, dark ? [27, 30, 35] : [246, 247, 249]);
    // Its text is as large as on the page.
    const drawn = await page.evaluate(async (text) => {
      document.body.insertAdjacentHTML("beforeend", `<div id="drawn" style="position:fixed;left:0;top:0">${text}</div>`);
      const height = document.querySelector("#drawn .verdict p").getBoundingClientRect().height;
      const size = getComputedStyle(document.querySelector("#drawn .finding p")).fontSize;
      document.querySelector("#drawn").remove();
      return [height, size];
    }, svg);
    const shown = await frame.locator("main").evaluate((main) => [main.querySelector(".verdict p").getBoundingClientRect().height, getComputedStyle(main.querySelector(".finding p")).fontSize]);
    assert.deepEqual(drawn, shown);
    assert.ok(seen.blue > 2000, `${seen.blue} pixels of the curve`);
  }
}

/** Lines and text alone, which any program can draw: nothing of HTML, and drawn by itself it has the curve where the page has it. */
export async function the_timeline_is_exported_as_lines(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(READY).first().waitFor();
  const svg = (await exported(page, frame, "Timeline, SVG")).bytes.toString();
  const names = new Set([...svg.matchAll(/<([a-zA-Z]+)/g)].map(([, name]) => name));
  assert.deepEqual([...names].sort(), ["clipPath", "path", "rect", "svg", "text"]);
  const size = await frame.locator(".timeline canvas").evaluate((canvas) => [canvas.clientWidth, canvas.clientHeight]);
  const [columns, drawn] = await page.evaluate(async ({ text, blue, png }) => {
    const seen = async (src) => {
      const picture = new Image();
      picture.src = src;
      await picture.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [picture.width, picture.height];
      const pen = canvas.getContext("2d");
      pen.drawImage(picture, 0, 0);
      const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
      const out = new Set();
      for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && Math.abs(data[at] - blue[0]) + Math.abs(data[at + 1] - blue[1]) + Math.abs(data[at + 2] - blue[2]) < 40) out.add((at / 4) % canvas.width);
      return [picture.width, picture.height, ...out];
    };
    return [await seen(`data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`), await seen(png)];
  }, { text: svg, blue: [0x2a, 0x6f, 0xbb], png: await frame.locator(".timeline canvas").evaluate((canvas) => canvas.toDataURL()) });
  assert.deepEqual(columns.slice(0, 2), size);
  assert.ok(columns.length > 0.9 * drawn.length && columns.length > 300, `${columns.length} and ${drawn.length} columns hold the curve`);
}

/** Its name is text in every file, and the picture runs nothing when it is opened by itself. */
export async function a_hostile_run_is_exported(page, base, { run }) {
  const frame = await open(page, base, { run });
  await frame.locator(READY).first().waitFor();
  const svg = await exported(page, frame, "Picture, SVG");
  assert.match(svg.name, /^losslens-script-alert-1-script--page\.svg$/);
  assert.ok(!svg.bytes.toString().includes("<script"));
  await page.goto(`data:image/svg+xml;base64,${svg.bytes.toString("base64")}`);
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => document.querySelectorAll("script").length), 0);
}
