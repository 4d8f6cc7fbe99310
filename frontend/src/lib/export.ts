// What is written into files: tables as CSV, and everything that is shown as JSON.

import type { Loads, State } from "../state";
import type { Table } from "../types";
import type { Place } from "./hash";

type Cell = string | number | boolean | null;

/** A field of CSV. Text that a spreadsheet would take for a formula gets an apostrophe before it: names come from anybody. */
function field(value: Cell | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(names: readonly string[], rows: readonly (readonly (Cell | undefined)[])[]): string {
  return [names, ...rows].map((row) => `${row.map(field).join(",")}\r\n`).join("");
}

/** Columns as rows. */
function turned(columns: readonly (readonly Cell[])[]): Cell[][] {
  return (columns[0] ?? []).map((_, row) => columns.map((column) => column[row] ?? null));
}

function ofTable({ names, columns }: Table): string {
  return csv(names, turned(columns));
}

/** The numbers of the view below the timeline, as CSV; empty where they are not here yet. */
export function viewCsv({ place, lens, fold, batches, layers, compare }: Loads & { place: Place }): string {
  if (place.view === "epochs" && fold.value !== null) {
    const { position, epoch, cells } = fold.value;
    return csv(["epoch", ...position.map(String)], cells.map((row, at) => [epoch[at], ...row]));
  }
  if (place.view === "batches" && batches.value !== null) return ofTable(batches.value);
  if (place.view === "layers" && layers.value !== null) {
    const { names, batch, cells } = layers.value;
    return csv(["layer", ...batch.map(String)], cells.map((row, at) => [names[at], ...row]));
  }
  if (place.view === "compare" && compare.value !== null) {
    const { runs, differ } = compare.value;
    return csv(
      ["run", "kind", "verdict", "median_jump", "last_loss", "noise", ...differ.map(({ name }) => name)],
      runs.map((run) => [run.run, run.kind, run.verdict, run.jump, run.last, run.noise, ...run.settings]),
    );
  }
  if (place.view === "boundary" && lens.value !== null) {
    const { names, columns, signals } = lens.value;
    return csv([...names, ...signals.map(({ name }) => name)], turned([...columns, ...signals.map(({ value }) => value)]));
  }
  return "";
}

export function timelineCsv({ timeline }: Pick<State, "timeline">): string {
  return timeline.value === null ? "" : ofTable(timeline.value);
}

/** Every answer that is shown, by the name of its route, with the place that it was asked for. */
export function shownJson({ place, ...state }: State): string {
  const { diagnosis, timeline } = state;
  const view = { boundary: state.lens, epochs: state.fold, batches: state.batches, layers: state.layers, compare: state.compare }[place.view];
  const name = place.view === "boundary" ? "lens" : place.view === "epochs" ? "fold" : place.view;
  const batch = place.view === "batches" && place.batch !== null ? { batch: state.batch.value } : {};
  return JSON.stringify({ place, diagnosis: diagnosis.value, timeline: timeline.value, [name]: view.value, ...batch }, null, 1);
}

/** A file's name: what a file system or a shell might take amiss becomes a dash. */
export function fileName(run: string, what: string): string {
  const safe = run.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "").slice(0, 80);
  return `losslens-${safe === "" ? "run" : safe}-${what}`;
}
