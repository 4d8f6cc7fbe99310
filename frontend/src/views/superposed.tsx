// All boundaries laid over each other, below the chosen one and on its axis: what one does by chance is gone.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { count } from "../lib/format";
import type { LensFrame } from "../lib/lens";
import { column } from "../lib/range";
import type { Lens } from "../types";
import { Plot } from "./plot";

/** `total` is the width in pixels of the row that `frame` divides. */
export function Superposed({ lens: { all, m }, frame, total, dark }: { lens: Lens; frame: LensFrame; total: number; dark: boolean }): JSX.Element | null {
  return useMemo(() => {
    if (all === null) return <p class="note">With three boundaries or more, all of them are laid over each other here.</p>;
    const [xs = [], mean = [], low = [], high = []] = ["offset", "mean", "low", "high"].map((name) => column(all, name));
    const said = `${count(all.count)} boundaries laid over each other`;
    return (
      <figure>
        <figcaption>{said}: loss less the level before, mean and 95{"\u202f"}% interval</figcaption>
        <Plot
          xs={xs}
          lines={[{ ys: mean }]}
          band={{ low, high }}
          least={0}
          ends={[-m - 0.5, m - 0.5]}
          sides={[frame.left, total - frame.left - frame.width]}
          ticks={[{ at: -0.5, text: "boundary" }]}
          cut={-0.5}
          label={said}
        />
      </figure>
    );
  }, [all, m, total, dark]);
}
