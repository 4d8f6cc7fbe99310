// What the wheel does over the timeline: with Ctrl (or a pinch, which browsers send as that) it zooms, sideways it pans.

export interface Turn {
  deltaX: number;
  deltaY: number;
  ctrlKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
}

/** Batches that are seen at least. */
const LEAST = 10;

/** The turn, over a plot one pixel wide, that a key stands for: + and - zoom, arrows pan by a quarter of what is seen. */
export function keyTurn(key: string): Turn | null {
  const zoom = { "+": -50, "=": -50, "-": 50 }[key] ?? 0;
  const pan = { ArrowLeft: -0.25, ArrowRight: 0.25 }[key] ?? 0;
  return zoom === 0 && pan === 0 ? null : { deltaX: pan, deltaY: zoom, ctrlKey: zoom !== 0, metaKey: false, shiftKey: false };
}

/**
 * The range after a turn of the wheel over pixel `x` of a plot `width` wide that shows the batches `from <= batch < to`.
 * The batch under the pointer stays where it is, and the range stays within the run. Null is the whole run; undefined where
 * the wheel is the page's, to scroll.
 */
export function turned([from, to]: readonly [number, number], batches: number, x: number, width: number, turn: Turn): [number, number] | null | undefined {
  const zooming = turn.ctrlKey || turn.metaKey;
  const sideways = turn.shiftKey ? turn.deltaX || turn.deltaY : turn.deltaX;
  if (!zooming && Math.abs(sideways) < Math.abs(turn.shiftKey ? 0 : turn.deltaY)) return undefined;
  const span = to - from;
  const size = zooming ? Math.max(Math.min(LEAST, span), span * Math.exp(Math.max(-50, Math.min(50, turn.deltaY)) / 100)) : span;
  if (size >= batches) return null;
  const start = from + (zooming ? (x / width) * (span - size) : (sideways / width) * span);
  const low = Math.round(Math.max(0, Math.min(batches - size, start)));
  return [low, low + Math.round(size)];
}

/** The range, as long as it is, with its middle at `middle`, and within the run. */
export function moved([from, to]: readonly [number, number], middle: number, batches: number): [number, number] {
  const low = Math.round(Math.max(0, Math.min(batches - (to - from), middle - (to - from) / 2)));
  return [low, low + to - from];
}
