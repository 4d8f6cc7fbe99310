// The page's state: one cell. `place` is what a link carries; the rest is what the server answered for it.

import { type Cell, cell } from "./lib/cell";
import { type Place, START } from "./lib/hash";
import type { Batch, Batches, Compare, Diagnosis, EvidencePlace, Fold, Layers, Lens, Overlay, RunsResponse, Scalar, ScalarTags, Timeline } from "./types";

/** An answer on its way, here, or refused. `value` outlives a reload, so that nothing flashes. */
export interface Load<T> {
  status: "idle" | "loading" | "ready" | "failed";
  value: T | null;
  error: string;
}

export interface Answers {
  runs: RunsResponse;
  diagnosis: Diagnosis;
  timeline: Timeline;
  /** The whole run, for the map of where a zoomed timeline lies. */
  whole: Timeline;
  /** Timelines of the runs that are drawn over it, of the same range. */
  over: Timeline[];
  lens: Lens;
  overlay: Overlay;
  fold: Fold;
  batches: Batches;
  batch: Batch;
  layers: Layers;
  compare: Compare;
  tags: ScalarTags;
  scalar: Scalar;
}

export type Loads = { [K in keyof Answers]: Load<Answers[K]> };

export interface State extends Loads {
  /** Run, boundary, zoom and axes. */
  place: Place;
  /** Follows TensorBoard's dark mode. */
  dark: boolean;
  /** Index of the finding that is open. */
  finding: number;
  /** Where the evidence that was clicked is drawn. */
  highlight: EvidencePlace | null;
}

export function idle<T>(): Load<T> {
  return { status: "idle", value: null, error: "" };
}

export function freshRun(): Omit<Loads, "runs" | "compare"> & Pick<State, "finding" | "highlight"> {
  return { diagnosis: idle(), timeline: idle(), whole: idle(), over: idle(), lens: idle(), overlay: idle(), fold: idle(), batches: idle(), batch: idle(), layers: idle(), tags: idle(), scalar: idle(), finding: 0, highlight: null };
}

export const state: Cell<State> = cell<State>({ place: START, dark: false, runs: idle(), compare: idle(), ...freshRun() });
