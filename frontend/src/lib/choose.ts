// Which run is shown where the link names none, or names it as it was called below another log directory.

import type { RunKind, RunRow } from "../types";

const ORDER: readonly RunKind[] = ["fault", "unknown", "artifact", "planned", "benign", "pending", "plain"];

/** A list of more runs than this is sorted by what wants to be read, and can be searched. */
export const MANY = 12;

/** The runs to list: those whose name or verdict holds all `words`; of many, the kind that most wants to be read first. */
export function listed(runs: readonly RunRow[], words: string): RunRow[] {
  const wanted = words.toLowerCase().split(/\s+/);
  const found = runs.filter((row) => wanted.every((word) => `${row.run} ${row.label} ${row.short} ${row.kind}`.toLowerCase().includes(word)));
  return runs.length > MANY ? found.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)) : found;
}

/** The first run of the kind that most wants to be read, or null if there is none. */
export function chooseRun(runs: readonly RunRow[]): string | null {
  let best: RunRow | null = null;
  for (const row of runs) if (best === null || ORDER.indexOf(row.kind) < ORDER.indexOf(best.kind)) best = row;
  return best === null ? null : best.run;
}

/**
 * The run that a link means. Its own name where there is one; else the only run with the same last part of its path
 * (TensorBoard names runs by their path below `--logdir`, which the link's writer could not know); else null.
 */
export function meantRun(runs: readonly RunRow[], wanted: string): string | null {
  if (runs.some((row) => row.run === wanted)) return wanted;
  const last = (name: string): string => name.split("/").pop() ?? "";
  const alike = runs.filter((row) => last(row.label) === last(wanted));
  const [only] = alike.length === 1 ? alike : runs.length === 1 ? runs : [];
  return only?.run ?? null;
}
