import { describe, expect, it } from "vitest";
import type { Boundary, Finding } from "../types";
import { marks, markSize, neighbour, tellingBoundary } from "./marks";

function boundary(index: number, z: number | null, kind: Boundary["kind"] = "fault"): Boundary {
  const rest = { m: 5, significant: true, log_scale: false, shape: "none", cause: "", before: 1, after: 2, placebo_low: -1, placebo_high: 1, placebo_median: 0, placebo_count: 9, unmeasured: "", unclear: false };
  return { index, batch: (index + 1) * 10, step: (index + 1) * 10, epoch: index + 1, kind, z, jump: z, ...rest };
}

function finding(boundaries: number[], steps: number[] = []): Finding {
  const rest = { cause: "c", detail: "", kind: "unknown", strength: "likely", title: "T", text: "", score: 1, share: null, explains_jump: true } as const;
  return { ...rest, boundaries, steps, evidence: [], evidence_at: [], against: [], against_at: [], missing: [], advice: "", fix: "", confirm: "" };
}

const ROWS = { batch: [0, 100000], step: [0, 100000] };

describe("marks", () => {
  it("puts one above each boundary, larger for larger jumps", () => {
    const found = marks([boundary(0, 4), boundary(1, -20)], [], ROWS, { from: 0, to: 40, width: 490 }, null);
    expect(found.map((mark) => mark.boundary)).toEqual([0, 1]);
    expect(found.map((mark) => mark.x)).toEqual([172, 272]);
    expect(found[1]?.size).toBeGreaterThan(found[0]?.size ?? 99);
    expect(found[0]?.label).toContain("Boundary 1, epoch 1, step 10");
    const [unknown] = marks([{ ...boundary(0, null, "none"), jump: null, unmeasured: "no finite loss after it" }], [], ROWS, { from: 0, to: 40, width: 490 }, null);
    expect(unknown?.label).toMatch(/not measurable: no finite loss after it$/);
    expect([unknown?.measured, found[0]?.measured]).toEqual([false, true]);
    const [large] = marks([{ ...boundary(0, 5, "none"), unclear: true }], [], ROWS, { from: 0, to: 40, width: 490 }, null);
    expect(large?.label).toMatch(/not clear$/);
    expect(markSize(null)).toBe(8);
    expect(markSize(1000)).toBe(15);
  });

  it("shows a finding that is at no boundary where it acts", () => {
    const found = marks([], [finding([]), finding([0], [3]), finding([], [25, 26])], ROWS, { from: 0, to: 40, width: 490 }, null);
    expect(found.map((mark) => [mark.finding, mark.x])).toEqual([[2, 322]]);
  });

  it("leaves out what is outside the view", () => {
    const found = marks([boundary(0, 4), boundary(5, 4)], [finding([], [5])], ROWS, { from: 30, to: 90, width: 490 }, null);
    expect(found.map((mark) => mark.boundary)).toEqual([5]);
  });

  it("keeps the strongest of a crowd, apart from each other, and always the selected one", () => {
    const crowd = Array.from({ length: 1000 }, (_, index) => boundary(index, index === 500 ? 90 : 1 + (index % 7), index % 3 === 0 ? "none" : "fault"));
    const found = marks(crowd, [], ROWS, { from: 0, to: 10010, width: 900 }, 333);
    found.slice(1).forEach((mark, index) => expect(mark.x - (found[index]?.x ?? 0)).toBeGreaterThanOrEqual(13));
    expect(found.some((mark) => mark.boundary === 500)).toBe(true);
    expect(found.some((mark) => mark.boundary === 333)).toBe(true);
    expect(found.length).toBeGreaterThan(30);
  });
});

describe("choosing a boundary", () => {
  const all = [boundary(0, 3), boundary(1, -9), boundary(4, 5)];

  it("opens on the strongest where the best finding acts", () => {
    expect(tellingBoundary(all, [finding([0, 4]), finding([1])])).toBe(4);
    expect(tellingBoundary(all, [])).toBe(1);
    expect(tellingBoundary(all, [finding([99])])).toBe(1);
    expect(tellingBoundary([], [])).toBeNull();
  });

  it("opens where the leading finding has its evidence", () => {
    const shows = (boundaries: number[], ...spans: [number, number][]): Finding => ({ ...finding(boundaries), evidence_at: [null, ...spans.map((span) => ({ signal: "loss", span }))] });
    expect(tellingBoundary(all, [shows([0, 1, 4], [5, 15]), finding([1])])).toBe(0);
    expect(tellingBoundary(all, [shows([], [45, 55]), finding([1])])).toBe(4); // at no boundary itself
    expect(tellingBoundary(all, [shows([], [40, 44])])).toBe(4); // inside an epoch: the nearest to its begin
    expect(tellingBoundary(all, [shows([0, 4], [0, 100])])).toBe(4); // all of the run: the largest where it acts
  });

  it("opens on one like the others where the finding acts at several, clear of the noise", () => {
    const jumps = [[1.2, 5.6], [0.53, 4.7], [0.31, 3.7], [0.13, 2.1], [0.13, 2], [0.27, 4.2], [0.33, 5.7]] as const;
    const many = jumps.map(([jump, z], index) => ({ ...boundary(index, z), jump }));
    expect(tellingBoundary(many, [finding([0, 1, 2, 3, 4, 5, 6])])).toBe(5);
    expect(tellingBoundary(many, [finding([0, 1, 2])])).toBe(0);
  });

  it("looks for the noise where the band is as wide as usual, and for a jump where one was measured", () => {
    const wide = { ...boundary(0, 5, "none"), placebo_low: -30, placebo_high: 30 };
    const calm = [wide, boundary(1, 1, "none"), boundary(2, -2, "none"), boundary(3, 0, "none")];
    expect(tellingBoundary(calm, [finding([])])).toBe(2);
    const blind = { ...boundary(3, null, "none"), unmeasured: "no finite loss" };
    const broken = { ...finding([]), evidence_at: [{ signal: "loss", span: [38, 90] as [number, number] }] };
    expect(tellingBoundary([boundary(2, 1), blind], [broken])).toBe(2);
    expect(tellingBoundary([blind], [broken])).toBe(3);
  });

  it("steps by position in the list, not by number", () => {
    expect(neighbour(all, 1, 1)).toBe(4);
    expect(neighbour(all, 1, -1)).toBe(0);
    expect(neighbour(all, 4, 1)).toBeNull();
    expect(neighbour(all, null, 1)).toBe(0);
    expect(neighbour(all, null, -1)).toBe(4);
    expect(neighbour([], 3, 1)).toBeNull();
  });
});
