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
