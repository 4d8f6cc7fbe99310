// Keeps labels apart.

/**
 * Moves the centres of labels as little as needed, so that neighbours are at least `gap` apart and all lie within
 * `[low, high]` where there is room. The result is in the order that was given.
 */
export function spread(centres: readonly number[], gap: number, low: number, high: number): number[] {
  const order = centres.map((_, index) => index).sort((a, b) => (centres[a] ?? 0) - (centres[b] ?? 0));
  const placed = [...centres];
  let floor = low;
  for (const index of order) {
    placed[index] = Math.max(placed[index] ?? 0, floor);
    floor = (placed[index] ?? 0) + gap;
  }
  let ceiling = high;
  for (const index of order.reverse()) {
    placed[index] = Math.min(placed[index] ?? 0, ceiling);
    ceiling = (placed[index] ?? 0) - gap;
  }
  return placed;
}
