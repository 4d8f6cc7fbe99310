// Looks at the server again while something may change and somebody looks; otherwise it rests.

import { follow, refresh } from "./actions";
import { visible, watchHash, watchVisible } from "./host";
import { state } from "./state";

const LIVE = 1000;
const EMPTY = 3000;
const BROKEN = 5000;

/** Milliseconds until the next look, or null to rest: every run is finished and has its verdict. */
export function pause(): number | null {
  const { runs, place } = state.get();
  if (runs.status === "failed") return BROKEN;
  const rows = runs.value?.runs ?? [];
  if (rows.length === 0) return EMPTY;
  const waiting = rows.some((row) => row.kind === "pending" || (row.live && row.run === place.run));
  return waiting ? LIVE : rows.every((row) => row.plain) || rows.some((row) => row.live) ? EMPTY : null;
}

export function poll(): void {
  let timer: number | null = null;
  let busy = false;

  const plan = (): void => {
    const wait = pause();
    if (timer !== null || busy || wait === null || !visible()) return;
    timer = window.setTimeout(() => {
      timer = null;
      void look();
    }, wait);
  };
  const look = async (): Promise<void> => {
    if (busy || !visible()) return;
    busy = true;
    await refresh();
    busy = false;
    plan();
  };

  let seen = visible();
  watchVisible(() => {
    const now = visible();
    if (now && !seen) {
      follow();
      void look();
    }
    seen = now;
  });
  watchHash(follow);
  state.watch(plan);
  plan();
}
