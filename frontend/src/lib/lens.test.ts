import { describe, expect, it } from "vitest";
import type { LensSignal } from "../types";
import { groupMissing, lensFrame, orderSignals } from "./lens";

function signal(name: string, moved: boolean): LensSignal {
  return { name, label: name, unit: "", offset: [], value: [], said: "", moved, z: null };
}

describe("lensFrame", () => {
  it("puts the cut in the middle, half a batch before offset 0", () => {
    for (const m of [5, 20, 200]) {
      const frame = lensFrame(m, 700);
      expect(frame.x(-0.5)).toBeCloseTo(frame.width / 2);
      expect(frame.x(-m - 0.5)).toBeCloseTo(0);
      expect(frame.x(m - 0.5)).toBeCloseTo(frame.width);
      expect(frame.left + frame.width).toBeLessThan(frame.words);
    }
  });

  it("keeps its labels apart, and off the name of the boundary", () => {
    for (const m of [5, 11, 20, 37, 200])
      for (const width of [300, 420, 700, 1200]) {
        const { ticks, x } = lensFrame(m, width);
        const places = [...ticks.map(x), x(-0.5)].sort((a, b) => a - b);
        places.slice(1).forEach((place, index) => expect(place - (places[index] ?? 0)).toBeGreaterThanOrEqual(40));
      }
  });
});

describe("signals", () => {
  it("shows all that moved, then steady ones, and the one that was asked for", () => {
    const all = [signal("a", false), signal("b", true), signal("c", false), signal("d", false)];
    expect(orderSignals(all, null, 2)).toEqual({ rows: [all[1], all[0], all[2], all[3]], first: 2 });
    expect(orderSignals(all, "d", 1)).toEqual({ rows: [all[1], all[3], all[0], all[2]], first: 2 });
  });

  it("groups missing ones by their line of code", () => {
    expect(
      groupMissing([
        { label: "LR", how: "watch" },
        { label: "ids", how: "wrap" },
        { label: "grad", how: "watch" },
      ]),
    ).toEqual([
      { labels: "LR, grad", how: "watch" },
      { labels: "ids", how: "wrap" },
    ]);
  });
});
