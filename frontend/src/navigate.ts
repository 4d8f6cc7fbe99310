// From a place to what is on the screen: which answers a place needs, and in which order they are asked for.

import { readHash, writeHash } from "./host";
import { chooseRun, meantRun } from "./lib/choose";
import { type Place, readPlace, type View, writePlace } from "./lib/hash";
import { tellingBoundary } from "./lib/marks";
import { ask } from "./requests";
import { freshRun, state } from "./state";
import type { RunRow } from "./types";

/** The run that was opened for want of a choice, as long as verdicts are still awaited and nobody has chosen. */
let unchosen: string | null = null;

export function currentRow(): RunRow | null {
  const { runs, place } = state.get();
  return runs.value?.runs.find((row) => row.run === place.run) ?? null;
}

/** Changes the place and loads what that asks for. */
export function go(patch: Partial<Place>): void {
  const before = state.get().place;
  const place = { ...before, ...(patch.run === undefined || patch.run === before.run ? {} : { batch: null }), ...patch };
  if (place.run !== unchosen || patch.zoom !== undefined) unchosen = null;
  const newRun = place.run !== before.run;
  state.set(newRun ? { place, ...freshRun() } : { place });
  writeHash(writePlace(readHash(), place));
  if (place.run === null) return;
  if (newRun) void openRun(place.run);
  else {
    if (place.zoom !== before.zoom) askZoom(place.run, place.view);
    else if (place.over !== before.over || place.runs !== before.runs) askOver();
    if (place.signal !== before.signal && place.view === "layers") void ask.layers(place.run);
    if (place.boundary !== before.boundary && place.boundary !== null) void ask.lens(place.run, place.boundary);
    if (place.batch !== before.batch && place.batch !== null && place.view === before.view) void ask.batch(place.run, place.batch);
    if (place.runs !== before.runs && place.view === before.view) void askView(place.run, place);
    if (place.view !== before.view) void askView(place.run, place);
    if (place.scalar !== before.scalar && place.scalar !== null) void ask.scalar(place.run, place.scalar);
  }
}

/** What the view below the timeline needs beyond what every run is opened with. */
function askView(run: string, { view, batch }: Place): Promise<unknown> {
  if (view === "epochs") return ask.fold(run);
  if (view === "batches") return Promise.all([ask.batches(run), batch === null ? null : ask.batch(run, batch)]);
  if (view === "layers") return ask.layers(run);
  // Which runs there are has to be known first.
  if (view === "compare" && state.get().runs.value !== null) return ask.compare();
  return Promise.resolve();
}

/** The other runs, where they are drawn. */
function askOver(): void {
  const { over, zoom, run } = state.get().place;
  if (over) void ask.over();
  if (zoom !== null && run !== null && state.get().whole.value === null) void ask.whole(run);
}

/** What is drawn over the zoomed range. */
export function askZoom(run: string, view: View): void {
  void ask.timeline(run);
  askOver();
  if (view === "layers") void ask.layers(run);
}

/** Everything of one run: what the first screen needs at once, the rest after it. */
export async function openRun(run: string): Promise<void> {
  const asked = state.get().place;
  if (currentRow()?.plain === true) return openPlain(run);
  const asking = ask.first(run);
  const others: Promise<unknown>[] = [askView(run, asked)];
  if (asked.boundary !== null) others.push(ask.lens(run, asked.boundary));
  const diagnosis = await asking;
  if (diagnosis !== null && state.get().place.run === run) {
    const known = diagnosis.boundaries.some((boundary) => boundary.index === state.get().place.boundary);
    if (!known) go({ boundary: tellingBoundary(diagnosis.boundaries, diagnosis.findings) });
  }
  await Promise.all(others);
  if (state.get().place.run !== run || diagnosis === null) return;
  const { scalar } = state.get().place;
  void ask.overlay(run);
  void ask.tags(run);
  askOver();
  if (scalar !== null) void ask.scalar(run, scalar);
}

/** A run without a recording has only TensorBoard's own scalars. */
async function openPlain(run: string): Promise<void> {
  const tags = await ask.tags(run);
  if (tags === null || state.get().place.run !== run) return;
  const { scalar } = state.get().place;
  const tag = scalar !== null && tags.tags.includes(scalar) ? scalar : (tags.tags.find((name) => /loss/i.test(name)) ?? tags.tags[0] ?? null);
  if (tag === null) return;
  if (tag !== scalar) go({ scalar: tag });
  else await ask.scalar(run, tag);
}

/** Opens what the address names; without a run, the one that most wants to be read. */
export async function start(): Promise<void> {
  const place = readPlace(readHash());
  state.set({ place });
  if (place.run !== null) {
    const [runs] = await Promise.all([ask.runs(), openRun(place.run)]);
    if (state.get().place.run !== place.run) return;
    const meant = meantRun(runs?.runs ?? [], place.run);
    if (meant !== null && meant !== place.run) {
      go({ run: meant });
      return;
    }
    // It was opened before it was known to be one without a recording.
    if (currentRow()?.plain === true) await openPlain(place.run);
    else if (state.get().place.view === "compare") void ask.compare();
    askOver(); // which runs there are may have been unknown before
    return;
  }
  const runs = await ask.runs();
  if (state.get().place.run === null) choose(runs?.runs ?? []);
}

/** Opens the run that most wants to be read; again, while some of them have no verdict yet. */
function choose(runs: readonly RunRow[]): void {
  const run = chooseRun(runs);
  if (run === null) return;
  unchosen = run;
  if (run !== state.get().place.run) go({ run });
  if (!runs.some((row) => row.kind === "pending")) unchosen = null;
}

/** Follows an address that changed outside: a link in another tab of TensorBoard, or the browser's back. */
export function follow(): void {
  const { place, runs } = state.get();
  const wanted = readPlace(readHash());
  if (wanted.run !== null) wanted.run = meantRun(runs.value?.runs ?? [], wanted.run) ?? wanted.run;
  if (wanted.run === null || JSON.stringify(wanted) === JSON.stringify(place)) return;
  const same = wanted.run === place.run;
  const zoom = JSON.stringify(wanted.zoom) === JSON.stringify(place.zoom) ? place.zoom : wanted.zoom;
  go({ ...wanted, zoom, boundary: wanted.boundary ?? (same ? place.boundary : null) });
}

/** Changes where a comparison of runs does. */
function kindsOf(runs: readonly RunRow[]): string {
  return runs.map(({ run, kind, batches }) => `${run}/${kind}/${batches}`).join();
}

/** One look at the server while a run grows or waits for its verdict; loads again only what changed. */
export async function refresh(): Promise<void> {
  const before = currentRow();
  const kinds = kindsOf(state.get().runs.value?.runs ?? []);
  const answer = await ask.runs();
  const { place, diagnosis } = state.get();
  if (answer === null) return;
  if (place.view === "compare" && kinds !== kindsOf(answer.runs)) void ask.compare();
  if (place.run === null || place.run === unchosen) choose(answer.runs);
  if (place.run !== state.get().place.run || place.run === null) return;
  const meant = meantRun(answer.runs, place.run);
  if (meant !== null && meant !== place.run) {
    go({ run: meant });
    return;
  }
  const after = currentRow();
  if (after === null || after.plain) return;
  const longer = before?.version !== after.version;
  const grown = before?.batches !== after.batches;
  const judged = before?.verdict !== after.verdict || before.kind !== after.kind;
  if (diagnosis.status === "failed" && (grown || judged)) return void openRun(place.run);
  const wait: Promise<unknown>[] = [];
  // New batches are drawn when they are there, and not when they are judged.
  if (longer && (place.zoom === null || place.zoom[1] > (before?.batches ?? 0))) wait.push(ask.timeline(place.run));
  if (grown) {
    askOver();
    wait.push(askView(place.run, place));
  }
  if ((grown || judged) && diagnosis.status !== "loading") void ask.diagnosis(place.run).then(settle);
  await Promise.all(wait);
  settle();
}

/** Looks at the boundary that tells most, if none is looked at and there is one now. */
function settle(): void {
  const boundaries = state.get().diagnosis.value?.boundaries ?? [];
  if (state.get().place.boundary === null && boundaries.length > 0)
    go({ boundary: tellingBoundary(boundaries, state.get().diagnosis.value?.findings ?? []) });
}
