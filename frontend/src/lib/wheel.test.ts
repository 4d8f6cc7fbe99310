import { describe, expect, it } from "vitest";
import { keyTurn, moved, type Turn, turned } from "./wheel";

const turn = (patch: Partial<Turn>): Turn => ({ deltaX: 0, deltaY: 0, ctrlKey: false, metaKey: false, shiftKey: false, ...patch });

describe("the wheel over the timeline", () => {
  it("leaves the page its own wheel", () => {
    expect(turned([0, 1000], 1000, 300, 600, turn({ deltaY: 100 }))).toBeUndefined();
    expect(turned([100, 300], 1000, 300, 600, turn({ deltaY: 100, deltaX: 3 }))).toBeUndefined();
  });

  it("zooms around the batch under the pointer, in and out by the same factor", () => {
    const range = turned([0, 1000], 1000, 150, 600, turn({ deltaY: -100, ctrlKey: true }));
    const [from = 0, to = 0] = range ?? [];
    expect(to - from).toBe(607);
    expect(from + 0.25 * (to - from)).toBeCloseTo(250, -0.5);
    const [low = 0, high = 0] = turned([from, to], 1000, 150, 600, turn({ deltaY: -20, metaKey: true })) ?? [];
    const [back = 0, again = 0] = turned([low, high], 1000, 150, 600, turn({ deltaY: 20, metaKey: true })) ?? [];
    expect(Math.abs(back - from) + Math.abs(again - to)).toBeLessThanOrEqual(3);
  });

  it("shows ten batches at least and the whole run at most", () => {
    expect(turned([500, 510], 1000, 300, 600, turn({ deltaY: -100, ctrlKey: true }))).toEqual([500, 510]);
    expect(turned([0, 3], 3, 300, 600, turn({ deltaY: -100, ctrlKey: true }))).toBeNull();
    expect(turned([100, 900], 1000, 300, 600, turn({ deltaY: 100, ctrlKey: true }))).toBeNull();
  });

  it("pans sideways by the pixels turned, and stops at both ends", () => {
    expect(turned([100, 300], 1000, 0, 600, turn({ deltaX: 60 }))).toEqual([120, 320]);
    expect(turned([100, 300], 1000, 0, 600, turn({ deltaY: 60, shiftKey: true }))).toEqual([120, 320]);
    expect(turned([100, 300], 1000, 0, 600, turn({ deltaX: -900 }))).toEqual([0, 200]);
    expect(turned([700, 900], 1000, 0, 600, turn({ deltaX: 900 }))).toEqual([800, 1000]);
    expect(turned([0, 1000], 1000, 0, 600, turn({ deltaX: 60 }))).toBeNull();
  });
});

describe("keys", () => {
  it("zoom and pan as the wheel does, and leave others alone", () => {
    const by = (key: string, range: [number, number]) => {
      const as = keyTurn(key);
      return as === null ? as : turned(range, 1000, 0.5, 1, as);
    };
    expect(by("-", [400, 500])).toEqual([368, 533]);
    expect(by("+", [400, 500])).toEqual([420, 481]);
    expect(by("ArrowRight", [400, 500])).toEqual([425, 525]);
    expect(by("ArrowLeft", [0, 100])).toEqual([0, 100]);
    expect(by("ArrowRight", [0, 1000])).toBeNull();
    expect([by("a", [0, 9]), by("Shift", [0, 9])]).toEqual([null, null]);
  });
});

describe("moved", () => {
  it("keeps the length, brings the middle there, and stays within the run", () => {
    expect(moved([10, 30], 50, 100)).toEqual([40, 60]);
    expect(moved([10, 30], 3, 100)).toEqual([0, 20]);
    expect(moved([10, 30], 99, 100)).toEqual([80, 100]);
    expect(moved([0, 100], 7, 100)).toEqual([0, 100]);
  });
});
