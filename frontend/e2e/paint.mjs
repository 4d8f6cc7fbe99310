// What the page waits for before there is something to read: how many requests, one after another, and how large.

import assert from "node:assert/strict";
import { address } from "./browser.mjs";

/** KB that may travel before verdict and curve are there, the page itself included. */
const MOST = 130_000;

/** Verdict and curve need the page and one answer; the list of runs is asked for beside it, and everything else comes after them. */
export async function little_is_asked_before_the_first_paint(page, base, { run }) {
  const held = [];
  // What is not needed first is held back: the first paint must not wait for it.
  await page.route(/\/plugin\/losslens\/(?!static|runs|first)/, (route) => void held.push(route));
  const asked = [];
  page.on("request", (request) => {
    if (/\/plugin\/losslens\//.test(request.url())) asked.push(request);
  });
  await page.goto(address(base, { run }));
  const frame = await (await page.waitForSelector("iframe[src*='name=losslens']")).contentFrame();
  await frame.waitForSelector(".verdict h1:not(.quiet)");
  await frame.waitForSelector(".timeline .plot canvas");
  await frame.waitForSelector(".marks button");
  await frame.waitForSelector(".finding .evidence li");
  const names = asked.map((request) => /losslens\/(static\/)?([^?]*)/.exec(request.url())[2]);
  assert.deepEqual(names.slice(0, 3).sort(), ["first", "index.js", "runs"]);
  const first = asked.slice(0, 3);
  const sizes = await Promise.all(first.map(async (request) => (await request.sizes()).responseBodySize));
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) < MOST, `${names.slice(0, 3)}: ${sizes}`);
  // Both are on their way before either is answered.
  const [, sent, other] = first.map((request) => request.timing());
  const answered = Math.min(...[sent, other].map(({ startTime, responseStart }) => startTime + responseStart));
  assert.ok(Math.max(sent.startTime, other.startTime) <= answered, "one does not wait for the other");
  for (const route of held) await route.continue();
  await frame.waitForSelector(".lens .row");
}
