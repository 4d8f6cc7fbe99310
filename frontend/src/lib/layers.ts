// What the map of layers shows, and what a cell of it says.

import type { Layers, Num } from "../types";
import { count, counted, num } from "./format";

function median(values: readonly Num[]): number | null {
  const known = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  return known[known.length >> 1] ?? null;
}

/** Each layer against its own median, as the number of doublings: what changed, whatever its size. */
export function againstMedian(cells: readonly (readonly Num[])[]): Num[][] {
  return cells.map((row) => {
    const usual = median(row);
    return row.map((value) => (value === null || usual === null || value <= 0 || usual <= 0 ? null : Math.log2(value / usual)));
  });
}

/** A factor as it is written: ×2, or ×0.5. */
export function factor(doublings: number): string {
  return `×${num(2 ** doublings, 2)}`;
}

export function readLayer({ names, batch, to, cells, label }: Layers, row: number, at: number): string {
  const value = cells[row]?.[at] ?? null;
  const usual = median(cells[row] ?? []);
  const against = value === null || usual === null || usual <= 0 ? "" : `, ×${num(value / usual, 2)} of its median`;
  const last = (batch[at + 1] ?? to) - 1;
  const from = batch[at] ?? 0;
  return `${names[row] ?? ""} · ${last > from ? `batches ${count(from)} to ${count(last)}` : `batch ${count(from)}`} · ${label} ${num(value)}${against}`;
}

/** How much of the range was read, and of how many layers. */
export function coverage({ read, from, to, names, layers }: Layers): string {
  const some = names.length < layers ? `the ${count(names.length)} of ${count(layers)} layers that change most · ` : "";
  return `${some}read at ${count(read)} of ${counted(to - from, "batch", "batches")}${read < to - from ? "; blank where none was for long" : ""}`;
}
