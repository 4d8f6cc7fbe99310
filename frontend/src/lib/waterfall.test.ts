import { describe, expect, it } from "vitest";
import { waterfall } from "./waterfall";

function part(value: number): { label: string; value: number; kind: string; cause: string } {
  return { label: String(value), value, kind: "none", cause: "" };
}

describe("waterfall", () => {
  it.each([[[0.25, 0.03, 0, 0.02, 0.3]], [[0.5, -0.2, -0.6, -0.3]], [[-1, 0.25, -0.75]], [[0, 0]]])("adds up: %s", (values) => {
    const { bars, zero } = waterfall(values.map(part));
    const last = bars[bars.length - 1];
    const before = bars[bars.length - 2];
    expect(before?.level).toBeCloseTo(last?.level ?? NaN, 9);
    for (const bar of bars) {
      expect(bar.bottom).toBeGreaterThanOrEqual(-1e-9);
      expect(bar.top).toBeLessThanOrEqual(1 + 1e-9);
    }
    const span = Math.max(...bars.map((bar) => bar.top), zero) - Math.min(...bars.map((bar) => bar.bottom), zero);
    const tallest = values.map(Math.abs).reduce((a, b) => Math.max(a, b), 0);
    if (tallest > 0) expect(span).toBeCloseTo(1, 9);
  });

  it("draws the jump from zero and each part from where the sum stands", () => {
    const { bars, zero } = waterfall([part(3), part(-1), part(2)]);
    expect(zero).toBe(0);
    expect(bars.map((bar) => [bar.bottom * 3, bar.top * 3].map(Math.round))).toEqual([[0, 3], [2, 3], [0, 2]]);
  });
});
