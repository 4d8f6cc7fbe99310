// The horizontal frame that the timeline, its marks and its lanes share, so that a batch has one x everywhere.

/** Pixels left of the plot (labels) and right of it (room for the last mark). */
export const GUTTER = { left: 72, right: 18 } as const;

export interface Frame {
  from: number;
  to: number;
  /** Width of the whole row in pixels, gutters included. */
  width: number;
}

/** Pixels between the gutters, never less than one. */
export function inner(frame: Frame): number {
  return Math.max(1, frame.width - GUTTER.left - GUTTER.right);
}

/** The x of a batch in pixels from the left of the row. */
export function xOf(frame: Frame, batch: number): number {
  return GUTTER.left + ((batch - frame.from) / Math.max(1, frame.to - frame.from)) * inner(frame);
}

/** The batch at an x, within the frame. */
export function batchAt(frame: Frame, x: number): number {
  const share = (x - GUTTER.left) / inner(frame);
  return Math.round(frame.from + Math.min(1, Math.max(0, share)) * (frame.to - frame.from));
}
