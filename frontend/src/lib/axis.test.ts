import { describe, expect, it } from "vitest";
import { epochTicks, interpolate, logTicks, nearest, niceStride, niceTicks, stepTicks } from "./axis";

describe("niceTicks", () => {
  it("gives round numbers inside the range, evenly spaced", () => {
    for (const [low, high] of [[0, 1], [-3.2, 17.9], [0.0012, 0.0031], [1e6, 3e6], [2.31, 2.32]] as const) {
      const ticks = niceTicks(low, high, 5);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks.length).toBeLessThanOrEqual(11);
      const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
      ticks.forEach((tick, index) => {
        expect(tick).toBeGreaterThanOrEqual(low - step * 1e-6);
        expect(tick).toBeLessThanOrEqual(high + step * 1e-6);
        if (index > 0) expect(tick - (ticks[index - 1] ?? 0)).toBeCloseTo(step, 9);
      });
    }
  });

  it("is empty where there is no range", () => {
    expect(niceTicks(1, 1, 5)).toEqual([]);
    expect(niceTicks(0, Infinity, 5)).toEqual([]);
    expect(niceTicks(NaN, 1, 5)).toEqual([]);
  });
});

describe("logTicks", () => {
  it("prefers powers of ten and fills in where they are few", () => {
    expect(logTicks(0.5, 2000)).toEqual([1, 10, 100, 1000]);
    expect(logTicks(0.9, 12)).toEqual([1, 2, 5, 10]);
    expect(logTicks(2, 3)).toEqual(niceTicks(2, 3, 4));
    expect(logTicks(0, 3)).toEqual([]);
  });

  it("leaves powers out where they would crowd, as for a loss that diverged", () => {
    expect(logTicks(0.05, 2e21)).toEqual([1, 1e5, 1e10, 1e15, 1e20]);
  });
});

describe("epochTicks", () => {
  const epochs = { epoch: [0, 1, 2, 3], from: [0, 10, 20, 30], to: [10, 20, 30, 40] };

  it("stands in the middle of what is seen of an epoch", () => {
    expect(epochTicks(epochs, { from: 0, to: 40 }, 1)).toEqual([5, 15, 25, 35].map((batch, epoch) => ({ batch, text: String(epoch) })));
    expect(epochTicks(epochs, { from: 14, to: 22 }, 0.5).map((tick) => tick.batch)).toEqual([17, 21]);
  });

  it("is thinned where labels would touch", () => {
    const many = { epoch: Array.from({ length: 300 }, (_, i) => i), from: Array.from({ length: 300 }, (_, i) => i * 10), to: Array.from({ length: 300 }, (_, i) => i * 10 + 10) };
    const ticks = epochTicks(many, { from: 0, to: 3000 }, 100);
    ticks.slice(1).forEach((tick, index) => expect(tick.batch - (ticks[index]?.batch ?? 0)).toBeGreaterThanOrEqual(100));
    expect(ticks.length).toBeGreaterThan(10);
  });
});

describe("steps", () => {
  it("interpolates as a straight line does", () => {
    const xs = [0, 10, 20];
    const ys = [100, 200, 600];
    for (let x = 0; x <= 20; x += 1) expect(interpolate(xs, ys, x)).toBeCloseTo(x <= 10 ? 100 + 10 * x : 200 + 40 * (x - 10));
    expect(interpolate(xs, ys, -5)).toBe(100);
    expect(interpolate(xs, ys, 99)).toBe(600);
    expect(interpolate([], [], 1)).toBeNull();
    expect(interpolate([1], [7], 3)).toBe(7);
  });

  it("puts round steps at the batches that carry them", () => {
    const batches = [0, 50, 100];
    const ticks = stepTicks(batches, [1000, 1050, 1100], { from: 0, to: 100 }, 4, (steps) => steps.map(String));
    for (const tick of ticks) expect(Number(tick.text)).toBeCloseTo(1000 + tick.batch);
    expect(ticks.length).toBeGreaterThanOrEqual(3);
  });

  it("finds round strides", () => {
    expect([0.2, 1, 1.5, 3, 6, 11, 49].map(niceStride)).toEqual([1, 1, 2, 5, 10, 20, 50]);
  });
});

describe("nearest", () => {
  it("finds the value that is closest", () => {
    expect([-1, 0, 4, 6, 14, 16, 99].map((x) => nearest([0, 10, 20], x))).toEqual([0, 0, 0, 1, 1, 2, 2]);
    expect(nearest([7], 3)).toBe(0);
  });
});
