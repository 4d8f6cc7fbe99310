// What the map of epoch by position shows, and what a cell of it says.

import type { Fold, Num } from "../types";
import { niceTicks } from "./axis";
import { count, num, signed } from "./format";

/** Cells less the mean of their row. */
export function lessLevel({ cells, level }: Pick<Fold, "cells" | "level">): Num[][] {
  return cells.map((row, index) => {
    const mean = level[index] ?? null;
    return row.map((value) => (value === null || mean === null ? null : value - mean));
  });
}

/** Round positions that have a label, the last well before the end. */
export function tickPositions(length: number, width: number): number[] {
  return niceTicks(0, length, Math.max(2, width / 90)).filter(Number.isInteger);
}

/** A cell in words: epoch, batches, loss, and how far that is from the mean of the epoch. */
export function readCell(fold: Fold, row: number, at: number): string {
  const epoch = fold.epoch[row] ?? 0;
  const from = fold.position[at] ?? 0;
  const to = (fold.position[at + 1] ?? fold.length) - 1;
  const value = fold.cells[row]?.[at] ?? null;
  const level = fold.level[row] ?? null;
  const last = Math.min(epoch + fold.per_row, (fold.epoch[0] ?? 0) + fold.epochs) - 1;
  const parts = [
    last > epoch ? `epochs ${epoch} to ${last}` : `epoch ${epoch}`,
    to > from ? `batches ${count(from)} to ${count(to)}` : `batch ${count(from)}`,
    value === null ? "no loss" : `loss ${num(value)}`,
    value === null || level === null ? "" : `${signed(value - level, 2)} from the epoch’s mean`,
  ];
  return parts.filter((part) => part !== "").join(" · ");
}
