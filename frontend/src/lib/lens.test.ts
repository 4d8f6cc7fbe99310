import { describe, expect, it } from "vitest";
import type { LensSignal } from "../types";
import { groupMissing, lensFrame, orderSignals, readSides, tells, unread } from "./lens";

function signal(name: string, moved: boolean, value = [1, 2], z: number | null = 0.3): LensSignal {
  return { name, label: name, unit: "", offset: [-1, 0], value, said: "", moved, z };
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

  it("never lets the machine lead, puts counters behind noise, and leaves constants out but for the LR", () => {
    const wait = signal("data_wait", true);
    const counter = signal("opt_step", false, [1, 2], null);
    const rows = orderSignals([wait, signal("dense", false, [2, 2], null), counter, signal("lr", false, [2, 2], null), signal("input_mean", false), signal("grad_norm", true)], null).rows;
    expect(rows.map(({ name }) => name)).toEqual(["grad_norm", "lr", "input_mean", "opt_step", "data_wait"]);
    expect(tells(wait)).toBe(false);
    expect(orderSignals([signal("dense", false, [2, 2], null)], "dense").rows).toHaveLength(1);
  });

  it("colours no signal that has no values on both sides of the boundary, and names those without any", () => {
    const far = { ...signal("grad_norm", true), value: [null, null] };
    const late = { ...signal("input_mean", true), value: [null, 1] };
    expect([tells(far), tells(late), tells(signal("a", true))]).toEqual([false, false, true]);
    expect([readSides(far), readSides(late), readSides(signal("a", true))]).toEqual([[false, false], [false, true], [true, true]]);
    const twice = { ...signal("input_std", false), offset: [-2, -1, 0], value: [1, 2, null] };
    expect(orderSignals([twice, signal("opt_step", false, [1, 2], null)], null).rows.map(({ name }) => name)).toEqual(["opt_step", "input_std"]);
    expect(orderSignals([far], null).rows).toEqual([]);
    expect(unread([far, late])).toBe("grad_norm");
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
