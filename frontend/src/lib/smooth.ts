// A smoothed line to lay over the raw one.

import type { Num } from "../types";

/** Mean of the known values at most `reach` places away on either side; null where the value itself is. In one pass. */
export function smoothed(values: readonly Num[], reach: number): Num[] {
  const [sums, counts] = [[0], [0]];
  values.forEach((value, index) => {
    sums.push((sums[index] ?? 0) + (value ?? 0));
    counts.push((counts[index] ?? 0) + (value === null ? 0 : 1));
  });
  return values.map((value, index) => {
    const [from, to] = [Math.max(0, index - reach), Math.min(values.length, index + reach + 1)];
    return value === null ? null : ((sums[to] ?? 0) - (sums[from] ?? 0)) / ((counts[to] ?? 0) - (counts[from] ?? 0));
  });
}
