// When to look at the server again.

import type { RunRow } from "../types";

/** A run that grows or waits for its verdict is seen within a second. */
const LIVE = 1000;
/** A first recording shows up by itself. */
const EMPTY = 3000;
/** A server that does not answer is asked again, not too often. */
const BROKEN = 5000;

/** Milliseconds until the next look, or null to rest: every run is finished and has its verdict. `chosen` is on the screen. */
export function pause(runs: { status: string; value: { runs: readonly RunRow[] } | null }, chosen: string | null): number | null {
  if (runs.status === "failed") return BROKEN;
  const rows = runs.value?.runs ?? [];
  if (rows.some((row) => row.kind === "pending" || (row.live && row.run === chosen))) return LIVE;
  return rows.every((row) => row.plain) || rows.some((row) => row.live) ? EMPTY : null;
}
