// From values to pixels, on a linear or a logarithmic axis.

import type { YRange } from "../lib/range";
import { linear } from "../lib/path";

export type Scale = (value: number) => number;

/** The pixels between `start` and `end` that the values of `range` take. What a logarithm cannot show lies at its lower end. */
export function scaleOf({ low, high, log }: Pick<YRange, "low" | "high" | "log">, start: number, end: number): Scale {
  if (!log) return linear([low, high], [start, end]);
  const straight = linear([Math.log(low), Math.log(high)], [start, end]);
  return (value) => straight(Math.log(Math.max(value, low)));
}
