// All epochs on one axis: what repeats at the same place in each epoch is seen at once.

import type { JSX } from "preact";
import { scaleOf } from "../chart/scale";
import { count, num } from "../lib/format";
import { extent, linePath, linear } from "../lib/path";
import { alike } from "../lib/range";
import type { Overlay } from "../types";
import { useWidth } from "./use";

const HEIGHT = 112;
const LEFT = 34;
/** Losses that differ by more than this factor are drawn on a log axis: on another one all but the largest would lie on one line. */
const WIDE = 100;

/** `chosen` is the epoch that is drawn strong, the one that begins at the boundary in the lens. */
export function EpochOverlay({ overlay, chosen }: { overlay: Overlay; chosen: number | null }): JSX.Element | null {
  const [ref, width] = useWidth();
  const range = extent(overlay.columns.flat());
  const last = overlay.position[overlay.position.length - 1];
  if (range === null || last === undefined || overlay.epoch.length < 2) return null;
  const x = linear([0, Math.max(1, last)], [LEFT, Math.max(LEFT + 1, width - 4)]);
  const log = range[0] > 0 && range[1] > WIDE * range[0];
  const y = scaleOf(alike(range[0], range[1], log), HEIGHT, 0);
  const xs = overlay.position.map(x);
  const path = (values: readonly (number | null)[]): string => linePath(xs, values.map((value) => (value === null ? null : y(value))));
  const strong = chosen === null ? -1 : overlay.epoch.indexOf(chosen);
  const strongest = overlay.columns[strong];
  return (
    <figure class="overlay">
      <figcaption>
        All epochs, aligned{log ? ", log" : ""}
        {strong >= 0 ? <span class="key"> epoch {overlay.epoch[strong]}</span> : null}
      </figcaption>
      <div ref={ref}>
        <svg width={width} height={HEIGHT + 20} role="img" aria-label={`Loss of ${count(overlay.epoch.length)} epochs by position in the epoch`}>
          {[range[1], range[0]].map((value) => (
            <text x={LEFT - 6} y={y(value) + 4} text-anchor="end">
              {num(value, 2)}
            </text>
          ))}
          {overlay.columns.map((values, index) => (
            <path class="epoch" style={{ opacity: 0.25 + (0.5 * index) / overlay.columns.length }} d={path(values)} />
          ))}
          {strongest === undefined ? null : <path class="epoch strong" d={path(strongest)} />}
          <text x={LEFT} y={HEIGHT + 16}>
            batch 0
          </text>
          <text x={width - 4} y={HEIGHT + 16} text-anchor="end">
            batch {count(last)}
          </text>
        </svg>
      </div>
    </figure>
  );
}
