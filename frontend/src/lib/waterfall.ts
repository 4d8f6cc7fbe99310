// The parts of a jump as floating bars that add up to it.

export interface Part {
  label: string;
  value: number;
  kind: string;
  cause: string;
  /** Interval of 95 % around the value, where its batches allow one. */
  low?: number | null;
  high?: number | null;
}

export interface Bar extends Part {
  /** Lower and upper end of the bar, 0..1 of the drawing's height. */
  bottom: number;
  top: number;
  /** Where the running sum stands after this bar, 0..1; the hairline to the next bar is drawn there. */
  level: number;
}

export interface Waterfall {
  bars: Bar[];
  /** Where zero is, 0..1. */
  zero: number;
}

/** Bars in the given order. The last part is the jump itself and starts at zero, the others start where the sum stands. */
export function waterfall(parts: readonly Part[]): Waterfall {
  const spans: { from: number; to: number }[] = [];
  let sum = 0;
  parts.forEach((part, index) => {
    const from = index === parts.length - 1 ? 0 : sum;
    sum = from + part.value;
    spans.push({ from, to: sum });
  });
  const low = Math.min(0, ...spans.map((span) => Math.min(span.from, span.to)));
  const high = Math.max(0, ...spans.map((span) => Math.max(span.from, span.to)));
  const share = (value: number): number => (high > low ? (value - low) / (high - low) : 0);
  const bars = parts.map((part, index) => {
    const { from, to } = spans[index] ?? { from: 0, to: 0 };
    return { ...part, bottom: share(Math.min(from, to)), top: share(Math.max(from, to)), level: share(to) };
  });
  return { bars, zero: share(0) };
}
