// Which run is shown where the link names none.

import type { RunKind, RunRow } from "../types";

const ORDER: readonly RunKind[] = ["fault", "unknown", "artifact", "planned", "benign", "pending", "plain"];

/** The first run of the kind that most wants to be read, or null if there is none. */
export function chooseRun(runs: readonly RunRow[]): string | null {
  let best: RunRow | null = null;
  for (const row of runs) if (best === null || ORDER.indexOf(row.kind) < ORDER.indexOf(best.kind)) best = row;
  return best === null ? null : best.run;
}
