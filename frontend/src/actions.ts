// What a reader can do. Each action changes the place, writes it into the address, and asks the server for what is new.

import { api, ApiError } from "./api";
import { readHash, writeHash } from "./host";
import { chooseRun, meantRun } from "./lib/choose";
import { type Place, readPlace, writePlace } from "./lib/hash";
import { neighbour, tellingBoundary } from "./lib/marks";
import { type Answers, freshRun, type State, state } from "./state";
import type { EvidencePlace, RunRow } from "./types";

const running = new Map<keyof Answers, AbortController>();

/** Asks for one answer; a newer question of the same name cancels it. Null if it was refused or cancelled. */
async function load<K extends keyof Answers>(name: K, ask: (signal: AbortSignal) => Promise<Answers[K]>): Promise<Answers[K] | null> {
  running.get(name)?.abort();
  const control = new AbortController();
  running.set(name, control);
  const put = (patch: Partial<State[K]>): void => state.set({ [name]: { ...state.get()[name], ...patch } });
  put({ status: "loading" } as Partial<State[K]>);
  try {
    const value = await ask(control.signal);
    if (control.signal.aborted) return null;
    put({ status: "ready", value, error: "" } as Partial<State[K]>);
    return value;
  } catch (error) {
    if (control.signal.aborted) return null;
    const sentence = error instanceof ApiError ? error.sentence : String(error);
    put({ status: "failed", error: sentence } as Partial<State[K]>);
    return null;
  } finally {
    if (running.get(name) === control) running.delete(name);
  }
}

export function currentRow(): RunRow | null {
  const { runs, place } = state.get();
  return runs.value?.runs.find((row) => row.run === place.run) ?? null;
}

/** A zoomed range of at most this many batches is shown batch by batch. */
const RAW = 1200;

/** Buckets that the timeline is asked for: one for a few pixels, so that band and mean can be told apart. */
function points(zoom: Place["zoom"]): number {
  if (zoom !== null && zoom[1] - zoom[0] <= RAW) return RAW;
  return Math.max(200, Math.min(600, Math.round(window.innerWidth * 0.2)));
}

const ask = {
  runs: () => load("runs", api.runs),
  diagnosis: (run: string) => load("diagnosis", (signal) => api.diagnosis(run, signal)),
  timeline: (run: string) => {
    const { zoom } = state.get().place;
    return load("timeline", (signal) => api.timeline(run, zoom, points(zoom), signal));
  },
  lens: (run: string, boundary: number) => load("lens", (signal) => api.lens(run, boundary, signal)),
  overlay: (run: string) => load("overlay", (signal) => api.overlay(run, signal)),
  tags: (run: string) => load("tags", (signal) => api.tags(run, signal)),
  scalar: (run: string, tag: string) => load("scalar", (signal) => api.scalar(run, tag, signal)),
};

/** Changes the place and loads what that asks for. */
function go(patch: Partial<Place>): void {
  const before = state.get().place;
  const place = { ...before, ...patch };
  const newRun = place.run !== before.run;
  state.set(newRun ? { place, ...freshRun() } : { place });
  writeHash(writePlace(readHash(), place));
  if (place.run === null) return;
  if (newRun) void openRun(place.run);
  else {
    if (place.zoom !== before.zoom) void ask.timeline(place.run);
    if (place.boundary !== before.boundary && place.boundary !== null) void ask.lens(place.run, place.boundary);
    if (place.scalar !== before.scalar && place.scalar !== null) void ask.scalar(place.run, place.scalar);
  }
}

/** Everything of one run: what the first screen needs at once, the rest after it. */
async function openRun(run: string): Promise<void> {
  const asked = state.get().place;
  if (currentRow()?.plain === true) return openPlain(run);
  const asking = ask.diagnosis(run);
  const others: Promise<unknown>[] = [ask.timeline(run)];
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
    return;
  }
  const runs = await ask.runs();
  const run = runs === null ? null : chooseRun(runs.runs);
  if (run !== null && state.get().place.run === null) go({ run });
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

export function selectRun(run: string): void {
  if (run !== state.get().place.run) go({ run, boundary: null, zoom: null, scalar: null });
}

export function zoom(from: number, to: number): void {
  const batches = state.get().timeline.value?.batches ?? to;
  const low = Math.max(0, Math.min(from, batches - 2));
  go({ zoom: [low, Math.min(batches, Math.max(to, low + 2))] });
}

export function resetZoom(): void {
  if (state.get().place.zoom !== null) go({ zoom: null });
}

/** Shows a boundary in the lens; a zoomed timeline that does not hold it moves there. */
export function selectBoundary(index: number): void {
  const { place, diagnosis } = state.get();
  const boundary = diagnosis.value?.boundaries.find((item) => item.index === index);
  if (boundary === undefined) return;
  const outside = place.zoom !== null && (boundary.batch <= place.zoom[0] || boundary.batch >= place.zoom[1]);
  state.set({ highlight: null });
  if (place.zoom === null || !outside) {
    go({ boundary: index });
    return;
  }
  const half = Math.round((place.zoom[1] - place.zoom[0]) / 2);
  const low = Math.max(0, boundary.batch - half);
  go({ boundary: index, zoom: [low, low + 2 * half] });
}

export function stepBoundary(by: -1 | 1): void {
  const { place, diagnosis } = state.get();
  const next = neighbour(diagnosis.value?.boundaries ?? [], place.boundary, by);
  if (next !== null) selectBoundary(next);
}

export const setAxis = (axis: Place["axis"]): void => go({ axis });
export const setScale = (scale: Place["scale"]): void => go({ scale });
export const setScalar = (scalar: string | null): void => go({ scalar });
export const openFinding = (finding: number): void => state.set({ finding });

/** A span that is this small a part of the view cannot be seen without zooming. */
const TINY = 0.02;

/** Shows where a piece of evidence is drawn: its signal in the lens, its span in the timeline. */
export function showEvidence(evidence: EvidencePlace, finding: number): void {
  const { place, diagnosis, timeline } = state.get();
  state.set({ finding, highlight: evidence });
  if (evidence.span === null) return;
  const [from, to] = evidence.span;
  const boundary = diagnosis.value?.boundaries.find((item) => item.batch >= from && item.batch <= to);
  const [low, high] = place.zoom ?? [0, timeline.value?.batches ?? to];
  const hidden = from >= high || to <= low;
  const patch: Partial<Place> = boundary === undefined ? {} : { boundary: boundary.index };
  if (boundary === undefined && to - from < TINY * (high - low)) {
    const room = Math.max(20, 2 * (to - from));
    patch.zoom = [Math.max(0, from - room), Math.min(timeline.value?.batches ?? to + room, to + room)];
  } else if (hidden) patch.zoom = null;
  if (Object.keys(patch).length > 0) go(patch);
}

/** Shows a finding that is at no boundary: its steps in the timeline. */
export function showFinding(finding: number): void {
  const { diagnosis, timeline } = state.get();
  state.set({ finding });
  const found = diagnosis.value?.findings[finding];
  const place = found?.evidence_at.find((item) => item?.span);
  if (found !== undefined && place && timeline.value !== null) showEvidence(place, finding);
}

export function retry(name: keyof Answers): void {
  const { place } = state.get();
  if (name === "runs") return void start();
  if (place.run === null) return;
  if (name === "lens") {
    if (place.boundary !== null) void ask.lens(place.run, place.boundary);
  } else if (name === "scalar") {
    if (place.scalar !== null) void ask.scalar(place.run, place.scalar);
  } else if (name === "diagnosis") void openRun(place.run);
  else void ask[name](place.run);
}

/** One look at the server while a run grows or waits for its verdict; loads again only what changed. */
export async function refresh(): Promise<void> {
  const before = currentRow();
  const answer = await ask.runs();
  const { place, diagnosis } = state.get();
  if (answer === null) return;
  if (place.run === null) {
    const run = chooseRun(answer.runs);
    if (run !== null) go({ run });
    return;
  }
  const meant = meantRun(answer.runs, place.run);
  if (meant !== null && meant !== place.run) {
    go({ run: meant });
    return;
  }
  const after = currentRow();
  if (after === null || after.plain) return;
  const grown = before?.batches !== after.batches;
  const judged = before?.verdict !== after.verdict || before.kind !== after.kind;
  if (diagnosis.status === "failed" && (grown || judged)) return void openRun(place.run);
  const wait: Promise<unknown>[] = [];
  if (grown && (place.zoom === null || place.zoom[1] > (before?.batches ?? 0))) wait.push(ask.timeline(place.run));
  if ((grown || judged) && diagnosis.status !== "loading") wait.push(ask.diagnosis(place.run));
  await Promise.all(wait);
  const boundaries = state.get().diagnosis.value?.boundaries ?? [];
  if (state.get().place.boundary === null && boundaries.length > 0)
    go({ boundary: tellingBoundary(boundaries, state.get().diagnosis.value?.findings ?? []) });
}
