// Holes in the record: a line must not bridge batches that were lost.

import type { Gaps, Num } from "../types";
import { counted } from "./format";

/** Rows of a table with one row of nulls in each hole, its first column (a batch, ascending) half a batch before what follows. */
export function withGaps(columns: readonly (readonly Num[])[], { batch }: Pick<Gaps, "batch">): Num[][] {
  const [at = [], ...others] = columns;
  const out: Num[][] = columns.map(() => []);
  let next = 0;
  at.forEach((row, index) => {
    for (; (batch[next] ?? Infinity) <= (row ?? 0); next += 1) {
      if (index > 0) out.forEach((column, which) => column.push(which === 0 ? (batch[next] ?? 0) - 0.5 : null));
    }
    out[0]?.push(row);
    others.forEach((column, which) => out[which + 1]?.push(column[index] ?? null));
  });
  return out;
}

/** "50 batches lost", of all holes together; empty without one. */
export function lostWords({ lost }: Pick<Gaps, "lost">): string {
  const total = lost.reduce((sum, size) => sum + size, 0);
  return total === 0 ? "" : `${counted(total, "batch", "batches")} lost`;
}
