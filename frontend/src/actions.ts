// What a reader can do. Each action changes the place, which loads what is new, or where something is lit.

import { GUTTER } from "./lib/frame";
import type { Place, View } from "./lib/hash";
import { neighbour } from "./lib/marks";
import { keyTurn, type Turn, turned } from "./lib/wheel";
import { askZoom, go, openRun, start } from "./navigate";
import { ask } from "./requests";
import { type Answers, state } from "./state";
import type { EvidencePlace } from "./types";

export function selectRun(run: string): void {
  if (run !== state.get().place.run) go({ run, boundary: null, zoom: null, scalar: null });
}

export function zoom(from: number, to: number): void {
  const batches = state.get().timeline.value?.batches ?? to;
  const low = Math.max(0, Math.min(from, batches - 2));
  go({ zoom: [low, Math.min(batches, Math.max(to, low + 2))] });
}

let settling = 0;

/** Zooms or pans what is drawn at once, and asks the server when the wheel rests. */
export function wheel(event: WheelEvent & { currentTarget: Element }, width: number): void {
  turn(event, event, width, event.clientX - event.currentTarget.getBoundingClientRect().left - GUTTER.left);
}

/** What the wheel does, by keys: + and - zoom at the chosen boundary where it is seen, else in the middle; Shift with an arrow pans. */
export function key(event: KeyboardEvent): void {
  const { place, timeline, diagnosis } = state.get();
  const [from, to] = place.zoom ?? [0, timeline.value?.batches ?? 0];
  const at = diagnosis.value?.boundaries.find((item) => item.index === place.boundary)?.batch ?? -1;
  const as = keyTurn(event.key);
  if (as !== null) turn(event, as, 1, at > from && at < to ? (at - from) / (to - from) : 0.5);
}

/** Moves what is seen by as much as the pointer was dragged. */
export function pan(by: number, width: number): void {
  turn(null, { deltaX: -by, deltaY: 0, ctrlKey: false, metaKey: false, shiftKey: false }, width, 0);
}

function turn(event: Event | null, how: Turn, width: number, x: number): void {
  const { place, timeline } = state.get();
  const batches = timeline.value?.batches ?? 0;
  if (batches === 0) return;
  const range = turned(place.zoom ?? [0, batches], batches, x, width, how);
  if (range === undefined) return;
  event?.preventDefault();
  state.set({ place: { ...place, zoom: range } });
  clearTimeout(settling);
  settling = window.setTimeout(() => {
    if (place.run === null || state.get().place.run !== place.run) return;
    go({}); // the address
    askZoom(place.run, state.get().place.view);
  }, 120);
}

export function resetZoom(): void {
  if (state.get().place.zoom !== null) go({ zoom: null });
}

/** Shows a boundary in the lens; a zoomed timeline that does not hold it moves there. */
export function selectBoundary(index: number, view: View = "boundary"): void {
  const { place, diagnosis } = state.get();
  const boundary = diagnosis.value?.boundaries.find((item) => item.index === index);
  if (boundary === undefined) return;
  const outside = place.zoom !== null && (boundary.batch <= place.zoom[0] || boundary.batch >= place.zoom[1]);
  state.set({ highlight: null });
  if (place.zoom === null || !outside) {
    go({ boundary: index, view });
    return;
  }
  const half = Math.round((place.zoom[1] - place.zoom[0]) / 2);
  const low = Math.max(0, boundary.batch - half);
  go({ boundary: index, view, zoom: [low, low + 2 * half] });
}

/** The view stays: where it is not the lens, the boundary is marked in it. */
export function stepBoundary(by: -1 | 1): void {
  const { place, diagnosis } = state.get();
  const next = neighbour(diagnosis.value?.boundaries ?? [], place.boundary, by);
  if (next !== null) selectBoundary(next, place.view);
}

export const setView = (view: View): void => go({ view });
/** Opens a batch in the view of batches, where its number is known from elsewhere too. */
export const openBatch = (batch: number | null): void => go({ batch, view: "batches" });
export const compareRuns = (runs: readonly string[]): void => go({ runs });
export const setColour = (colour: Place["colour"]): void => go({ colour });
export const setSignal = (signal: string): void => go({ signal });
export const setAxis = (axis: Place["axis"]): void => go({ axis });
export const setScale = (scale: Place["scale"]): void => go({ scale });
export const setScalar = (scalar: string | null): void => go({ scalar });
export const setKind = (kind: string | null): void => go({ kind });
export const setSmooth = (smooth: number | null): void => go({ smooth });
export const setOver = (over: boolean): void => go({ over });
export const openFinding = (finding: number): void => state.set({ finding });

/** A span that is this small a part of the view cannot be seen without zooming. */
const TINY = 0.02;

/** Shows where a piece of evidence is drawn: its signal in the lens, its span in the timeline. */
export function showEvidence(evidence: EvidencePlace, finding: number): void {
  const { place, diagnosis, timeline } = state.get();
  state.set({ finding, highlight: evidence });
  if (evidence.signal !== null && place.view !== "boundary") go({ view: "boundary" });
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
  if (name === "compare") return void ask.compare();
  if (place.run === null) return;
  if (name === "batch") {
    if (place.batch !== null) void ask.batch(place.run, place.batch);
  } else if (name === "lens") {
    if (place.boundary !== null) void ask.lens(place.run, place.boundary);
  } else if (name === "scalar") {
    if (place.scalar !== null) void ask.scalar(place.run, place.scalar);
  } else if (name === "diagnosis") void openRun(place.run);
  else void ask[name](place.run);
}
