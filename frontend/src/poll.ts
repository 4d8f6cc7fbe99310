// Looks at the server again while something may change and somebody looks; otherwise it rests.

import { visible, watchHash, watchVisible } from "./host";
import { pause } from "./lib/pause";
import { follow, refresh } from "./navigate";
import { state } from "./state";

export function poll(): void {
  let timer: number | null = null;
  let busy = false;

  const plan = (): void => {
    const { runs, place } = state.get();
    const wait = pause(runs, place.run);
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
