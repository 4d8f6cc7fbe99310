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

/** For each event, how many earlier ones are at the same batch: those stand side by side and not on each other. */
export function crowding(batches: readonly number[]): number[] {
  const seen = new Map<number, number>();
  return batches.map((batch) => {
    const before = seen.get(batch) ?? 0;
    seen.set(batch, before + 1);
    return before;
  });
}
