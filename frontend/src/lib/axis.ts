// Where the ticks of an axis stand, and what they say.

/** Round numbers in `[low, high]`, about `wanted` of them. Empty where the range is empty or not finite. */
export function niceTicks(low: number, high: number, wanted: number): number[] {
  if (!(high > low) || !Number.isFinite(high - low)) return [];
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? 10 * power;
  const ticks: number[] = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) ticks.push(cleaned(index * step));
  return ticks;
}

function cleaned(value: number): number {
  return Number(value.toPrecision(12));
}

/**
 * Powers of ten in `[low, high]`, with 2 and 5 between them where there are fewer than three, and only every second, fifth,
 * ... where there would be more than `most`. Both ends above 0.
 */
export function logTicks(low: number, high: number, most = 7): number[] {
  const within = (factors: readonly number[]): number[] => {
    const ticks: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1)
      for (const factor of factors) {
        const tick = cleaned(factor * 10 ** power);
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    return ticks;
  };
  if (!(low > 0 && high > low)) return [];
  const powers = within([1]);
  const every = niceStride(powers.length / most);
  if (powers.length >= 3) return powers.filter((tick) => Math.round(Math.log10(tick)) % every === 0);
  const finer = within([1, 2, 5]);
  return finer.length >= 3 ? finer : niceTicks(low, high, 4);
}

export interface Tick {
  batch: number;
  text: string;
}

/**
 * Epoch numbers at the middle of their epochs, thinned so that no two labels are nearer than `room` batches.
 * Epochs are given by their rows `from <= row < to`.
 */
export function epochTicks(
  epochs: { epoch: readonly number[]; from: readonly number[]; to: readonly number[] },
  view: { from: number; to: number },
  room: number,
): Tick[] {
  const ticks: Tick[] = [];
  const total = epochs.epoch.length;
  const every = niceStride((total * room) / Math.max(1, view.to - view.from));
  epochs.epoch.forEach((epoch, index) => {
    if (index % every !== 0) return;
    const from = Math.max(view.from, epochs.from[index] ?? 0);
    const to = Math.min(view.to, epochs.to[index] ?? 0);
    if (to > from) ticks.push({ batch: (from + to) / 2, text: String(epoch) });
  });
  return ticks;
}

/** The next round stride (1, 2, 5, 10, 20, ...) that is at least `least`. */
export function niceStride(least: number): number {
  for (let power = 1; ; power *= 10) for (const factor of [1, 2, 5]) if (factor * power >= least) return factor * power;
}

/** Index of the value of `xs` that is nearest to `x`; `xs` rise and are not empty. */
export function nearest(xs: readonly number[], x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) <= x) low = middle;
    else high = middle;
  }
  return x - (xs[low] ?? 0) <= (xs[high] ?? 0) - x ? low : high;
}

/** The value of `ys` at `x`, linear between the points and flat beyond them. `xs` rise; nulls in `ys` are passed over. */
export function interpolate(xs: readonly number[], ys: readonly (number | null)[], x: number): number | null {
  let low = 0;
  let high = xs.length - 1;
  if (high < 0) return null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) <= x) low = middle;
    else high = middle;
  }
  const [x0, x1, y0, y1] = [xs[low] ?? 0, xs[high] ?? 0, ys[low] ?? null, ys[high] ?? null];
  if (y0 === null || y1 === null) return y0 ?? y1;
  if (x1 === x0 || x <= x0) return y0;
  return x >= x1 ? y1 : y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
}

/** Round step numbers at the batches that carry them. `batches` and `steps` are parallel and rise. */
export function stepTicks(
  batches: readonly number[],
  steps: readonly number[],
  view: { from: number; to: number },
  wanted: number,
  label: (steps: readonly number[]) => string[],
): Tick[] {
  const first = interpolate(batches, steps, view.from);
  const last = interpolate(batches, steps, view.to);
  if (first === null || last === null) return [];
  const at = niceTicks(Math.min(first, last), Math.max(first, last), wanted).filter(Number.isInteger);
  const texts = label(at);
  return at.flatMap((step, index) => {
    const batch = interpolate(steps, batches, step);
    return batch === null ? [] : [{ batch, text: texts[index] ?? "" }];
  });
}
