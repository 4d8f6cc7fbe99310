// The one file that talks to the server. Addresses are relative, so that path prefixes and proxies need no care.

import type { Batch, Batches, Compare, Diagnosis, First, Fold, Layers, Lens, Overlay, Report, RunsResponse, Scalar, ScalarTags, Timeline } from "./types";

/** The server's own sentence on what went wrong; `status` is 0 where it could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly sentence: string,
    readonly status: number,
  ) {
    super(sentence);
  }
}

type Params = Record<string, string | number | readonly string[] | null>;

async function get(route: string, params: Params, signal?: AbortSignal): Promise<unknown> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) for (const one of [value ?? []].flat()) query.append(key, String(one));
  const text = query.toString();
  let response: Response;
  try {
    response = await fetch(text === "" ? route : `${route}?${text}`, { signal: signal ?? null, headers: { Accept: "application/json" } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("TensorBoard does not answer. Is it still running?", 0);
  }
  if (!response.ok) {
    const sentence = (await response.text()).trim();
    const readable = sentence !== "" && sentence.length < 600 && !sentence.startsWith("<");
    throw new ApiError(readable ? sentence : `TensorBoard answered ${response.status} ${response.statusText}.`, response.status);
  }
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("TensorBoard's answer is no JSON; is a proxy in between?", response.status);
  }
}

type Zoom = readonly [number, number] | null;

function range(zoom: Zoom): Params {
  return zoom === null ? {} : { from: zoom[0], to: zoom[1] };
}

export const api = {
  runs: async (signal?: AbortSignal) => (await get("runs", {}, signal)) as RunsResponse,
  first: async (run: string, zoom: Zoom, points: number, signal?: AbortSignal) => (await get("first", { run, ...range(zoom), points }, signal)) as First,
  diagnosis: async (run: string, signal?: AbortSignal) => (await get("diagnosis", { run }, signal)) as Diagnosis,
  timeline: async (run: string, zoom: Zoom, points: number, signal?: AbortSignal) => (await get("timeline", { run, ...range(zoom), points }, signal)) as Timeline,
  lens: async (run: string, boundary: number, signal?: AbortSignal) => (await get("lens", { run, boundary }, signal)) as Lens,
  overlay: async (run: string, signal?: AbortSignal) => (await get("overlay", { run, points: 100 }, signal)) as Overlay,
  fold: async (run: string, signal?: AbortSignal) => (await get("fold", { run }, signal)) as Fold,
  batches: async (run: string, signal?: AbortSignal) => (await get("batches", { run }, signal)) as Batches,
  batch: async (run: string, batch: number, signal?: AbortSignal) => (await get("batch", { run, batch }, signal)) as Batch,
  layers: async (run: string, layer: string | null, zoom: Zoom, signal?: AbortSignal) => (await get("layers", { run, signal: layer, ...range(zoom) }, signal)) as Layers,
  compare: async (runs: readonly string[], signal?: AbortSignal) => (await get("compare", { run: runs }, signal)) as Compare,
  tags: async (run: string, signal?: AbortSignal) => (await get("scalars", { run }, signal)) as ScalarTags,
  scalar: async (run: string, tag: string, signal?: AbortSignal) => (await get("scalar", { run, tag }, signal)) as Scalar,
  report: async (run: string) => (await get("report", { run })) as Report,
};
