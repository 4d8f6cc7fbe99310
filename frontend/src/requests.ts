// Every question that the page asks the server: where the answer goes, and that only the newest of a kind counts.

import { api, ApiError } from "./api";
import { compared, others } from "./lib/compare";
import type { Place } from "./lib/hash";
import { type Answers, type State, state } from "./state";
import type { Diagnosis, First, Timeline } from "./types";

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

/** A zoomed range of at most this many batches is shown batch by batch. */
const RAW = 1200;

/** Buckets that the timeline is asked for: one for a few pixels, so that band and mean can be told apart. */
function points(zoom: Place["zoom"]): number {
  if (zoom !== null && zoom[1] - zoom[0] <= RAW) return RAW;
  return Math.max(200, Math.min(600, Math.round(window.innerWidth * 0.2)));
}

export const ask = {
  runs: () => load("runs", api.runs),
  /** Timeline and diagnosis in one answer, so that both are drawn in one frame; a diagnosis that is still to be made comes after the curve. */
  first: async (run: string): Promise<Diagnosis | null> => {
    const { zoom } = state.get().place;
    let asked: Promise<First> | null = null;
    const answer = (signal: AbortSignal): Promise<First> => (asked ??= api.first(run, zoom, points(zoom), signal));
    const [diagnosis] = await Promise.all([
      load("diagnosis", async (signal) => (await answer(signal)).diagnosis ?? api.diagnosis(run, signal)),
      load("timeline", async (signal) => (await answer(signal)).timeline),
    ]);
    return diagnosis;
  },
  diagnosis: (run: string) => load("diagnosis", (signal) => api.diagnosis(run, signal)),
  timeline: (run: string) => {
    const { zoom } = state.get().place;
    return load("timeline", (signal) => api.timeline(run, zoom, points(zoom), signal));
  },
  whole: (run: string) => load("whole", (signal) => api.timeline(run, null, points(null), signal)),
  /** A run that has nothing in the range, or cannot be read, is not drawn. */
  over: () => {
    const { place } = state.get();
    const one = (run: string, signal: AbortSignal): Promise<Timeline[]> => api.timeline(run, place.zoom, points(place.zoom), signal).then((found) => [found], () => []);
    return load("over", async (signal) => (await Promise.all(others(state.get()).map((run) => one(run, signal)))).flat());
  },
  lens: (run: string, boundary: number) => load("lens", (signal) => api.lens(run, boundary, signal)),
  overlay: (run: string) => load("overlay", (signal) => api.overlay(run, signal)),
  fold: (run: string) => load("fold", (signal) => api.fold(run, signal)),
  batches: (run: string) => load("batches", (signal) => api.batches(run, signal)),
  batch: (run: string, batch: number) => load("batch", (signal) => api.batch(run, batch, signal)),
  layers: (run: string) => {
    const { signal: layer, zoom } = state.get().place;
    return load("layers", (signal) => api.layers(run, layer, zoom, signal));
  },
  compare: () => {
    const { runs, place } = state.get();
    return load("compare", (signal) => api.compare(compared(runs.value?.runs ?? [], place), signal));
  },
  tags: (run: string) => load("tags", (signal) => api.tags(run, signal)),
  scalar: (run: string, tag: string) => load("scalar", (signal) => api.scalar(run, tag, signal)),
};
