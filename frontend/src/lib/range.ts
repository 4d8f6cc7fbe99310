// The vertical range of the timeline.

import type { Num, Timeline } from "../types";
import { extent, padded } from "./path";

export interface YRange {
  low: number;
  high: number;
  log: boolean;
  /** Nothing finite is there to draw. */
  empty: boolean;
}

/** A wide curve is easier to read on a log axis: where the largest value is this many times the median. */
const WIDE = 25;

export function column(table: { names: readonly string[]; columns: readonly Num[][] }, name: string): Num[] {
  return table.columns[table.names.indexOf(name)] ?? [];
}

/** A scale for values from `low` to `high` that is logarithmic where the timeline's is, as long as no value forbids it. */
export function alike(low: number, high: number, log: boolean): YRange {
  if (log && low > 0) {
    const pad = Math.max(1.02, (high / low) ** 0.06);
    return { low: low / pad, high: high * pad, log: true, empty: false };
  }
  const [padLow, padHigh] = padded([low, high], 0.06);
  return { low: padLow, high: padHigh, log: false, empty: false };
}

function median(values: readonly Num[]): number {
  const sorted = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

/** Range of everything that is drawn: the band, the validation points, and `more`. A run without finite values gets 0 to 1. */
export function yRange(timeline: Timeline, scale: "auto" | "linear" | "log", more: readonly Num[] = []): YRange {
  const inside = timeline.validation.value.filter((_, index) => {
    const batch = timeline.validation.batch[index] ?? -1;
    return batch >= timeline.from && batch <= timeline.to;
  });
  const own = extent([...column(timeline, "min"), ...column(timeline, "max"), ...inside]);
  const [low, high] = extent([...(own ?? []), ...more]) ?? [0, 1];
  if (own === null && extent(more) === null) return { low, high, log: false, empty: true };
  const wide = (own ?? [0, 0])[1] > WIDE * median(column(timeline, "mean"));
  if (low > 0 && (scale === "log" || (scale === "auto" && wide))) {
    const pad = (high / low) ** 0.04;
    return { low: low / pad, high: high * Math.max(pad, 1.02), log: true, empty: false };
  }
  const [padLow, padHigh] = padded([low, high], 0.04);
  return { low: low >= 0 ? Math.max(0, padLow) : padLow, high: padHigh, log: false, empty: false };
}
