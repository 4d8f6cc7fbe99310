// Beside the boundary: where its jump comes from, and what all epochs do.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { count } from "../lib/format";
import type { State } from "../state";
import type { Lens, Overlay } from "../types";
import { Epochs } from "./epochs";
import { Waterfall } from "./waterfall";

/** Pixels for the labels left and right of a plot. */
const SIDES = [40, 28] as const;

/** `chosen` is the epoch that begins at the boundary. */
function Aligned({ overlay, chosen }: { overlay: Overlay; chosen: number }): JSX.Element | null {
  const last = overlay.position[overlay.position.length - 1];
  if (last === undefined || overlay.epoch.length < 2) return null;
  const ends = [0, Math.max(1, last)] as const;
  return (
    <figure>
      <figcaption>
        All epochs, aligned{overlay.epoch.includes(chosen) ? <span class="key"> epoch {chosen}</span> : null}
      </figcaption>
      <Epochs overlay={overlay} chosen={chosen} ends={ends} sides={SIDES} height={104} ticks={ends.map((at) => ({ at, text: `batch ${count(at)}` }))} />
    </figure>
  );
}

export function Beside({ lens, state }: { lens: Lens; state: State }): JSX.Element {
  const overlay = state.overlay.value;
  // What did not change is not drawn again in each frame of a zoom.
  return useMemo(
    () => (
      <div class="beside">
        <Waterfall lens={lens} />
        {overlay === null ? null : <Aligned overlay={overlay} chosen={lens.boundary.epoch} />}
      </div>
    ),
    [lens, overlay, state.dark],
  );
}
