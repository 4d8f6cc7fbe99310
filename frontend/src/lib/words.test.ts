import { describe, expect, it } from "vitest";
import type { Finding } from "../types";
import { breakable, comments, cost, facts, groupSkipped, pieces, pill, toDo, where } from "./words";

describe("words", () => {
  it("says strength and share", () => {
    const base = { kind: "fault", strength: "proved", share: 0.84, explains_jump: true } as const;
    expect(pill(base)).toBe("proved · 84\u202f%");
    expect(pill({ ...base, share: null })).toBe("proved");
    expect(pill({ ...base, explains_jump: false })).toBe("proved · not the jump");
    expect(pill({ ...base, kind: "unknown" })).toBe("unknown");
  });

  it("says what to do where something is to be done", () => {
    const finding = (kind: Finding["kind"], advice: string): Finding => ({ kind, advice }) as Finding;
    expect(toDo({ findings: [finding("fault", "Shuffle."), finding("benign", "Nothing.")] })).toBe("Shuffle.");
    expect(toDo({ findings: [finding("unknown", "Record more.")] })).toBe("Record more.");
    expect(toDo({ findings: [finding("benign", "Nothing to fix."), finding("fault", "Shuffle.")] })).toBe("");
    expect(toDo({ findings: [] })).toBe("");
  });

  it("breaks the name of a run where a reader would", () => {
    expect(breakable("lr_0.1/seed-7")).toEqual(["lr_", "0", ".", "1", "/", "seed", "-", "7"]);
    for (const name of ["", "ünï ☃ 😀", "a__b", "<img src=x>"]) expect(breakable(name).join("")).toBe(name);
    expect(breakable("😀😀")).toEqual(["😀😀"]);
  });

  it("says where a finding acts", () => {
    expect(where({ boundaries: [0, 1, 2], steps: [] }, 11)).toBe("at 3 of 11 boundaries");
    expect(where({ boundaries: [2], steps: [5] }, 11)).toBe("at boundary 3");
    expect(where({ boundaries: [], steps: [1045] }, 11)).toBe("at step 1\u202f045");
    expect(where({ boundaries: [], steps: [500, 501] }, 11)).toBe("at 2 steps from 500 on");
    expect(where({ boundaries: [], steps: [] }, 11)).toBe("");
  });

  it("groups what was skipped by the line that would record it", () => {
    const groups = groupSkipped([
      { cause: "label_noise", why: "no per-sample losses", how: "a" },
      { cause: "wrong_mode", why: "no mode", how: "b" },
      { cause: "outlier_samples", why: "no per-sample losses", how: "a" },
    ]);
    expect(groups).toEqual([
      { title: "Label noise, outlier samples", why: "no per-sample losses", how: "a" },
      { title: "Wrong mode", why: "no mode", how: "b" },
    ]);
    const unrecordable = [
      { cause: "a_b", why: "one epoch", how: "" },
      { cause: "c", why: "one batch", how: "" },
      { cause: "d_e", why: "one epoch", how: "" },
    ];
    expect(groupSkipped(unrecordable).map((group) => group.title)).toEqual(["A b, d e", "C"]);
    expect(groupSkipped([])).toEqual([]);
  });

  it("names each missing signal once, with its own line of code", () => {
    const groups = groupSkipped([
      { cause: "partial_last_batch", why: "needs loss and epoch and batch size, which were not recorded", how: "log; wrap; size" },
      { cause: "repeated_order", why: "needs loss and epoch, which were not recorded", how: "log; wrap" },
      { cause: "wrong_mode", why: "needs mode, which was not recorded", how: "watch" },
    ]);
    expect(groups).toEqual([
      { title: "Loss", why: "not recorded, for partial last batch, repeated order", how: "log" },
      { title: "Epoch", why: "not recorded, for partial last batch, repeated order", how: "wrap" },
      { title: "Batch size", why: "not recorded, for partial last batch", how: "size" },
      { title: "Mode", why: "not recorded, for wrong mode", how: "watch" },
    ]);
    const [shared] = groupSkipped([{ cause: "a", why: "needs epoch and batch size, which were not recorded", how: "wrap" }]);
    expect(shared).toEqual({ title: "Epoch, batch size", why: "not recorded, for a", how: "wrap" });
  });

  it("finds code in sentences without losing a letter", () => {
    expect(pieces("run `a b` now")).toEqual([
      { text: "run ", code: false },
      { text: "a b", code: true },
      { text: " now", code: false },
    ]);
    expect(pieces("one ` alone")).toEqual([{ text: "one ` alone", code: false }]);
    expect(pieces("`x`")).toEqual([{ text: "x", code: true }]);
    expect(pieces("")).toEqual([]);
  });

  it("cuts comments but not a # in a string", () => {
    expect(comments('a = "#1"  # why\nb')).toEqual([
      { text: 'a = "#1"  ', comment: "# why" },
      { text: "b", comment: "" },
    ]);
  });

  it("sums a run up", () => {
    const settings = { loss_source: "", overhead: 0.002, elapsed: null };
    expect(facts({ batches: 1920, epochs: 12 }, settings)).toBe("1\u202f920 batches · 12 epochs · recording took 0.2\u202f% of the run");
    expect(facts({ batches: 1, epochs: 1 }, null)).toBe("1 batch · 1 epoch");
    expect(facts({ batches: 1, epochs: 1 }, { ...settings, overhead: null })).toBe("1 batch · 1 epoch");
  });

  it("tells what recording cost in seconds where the share would frighten, and as a share where the run is long", () => {
    expect(cost({ overhead: 0.32, elapsed: 1.6 })).toBe("recording took 0.51\u202fs of the run’s 1.6\u202fs");
    expect(cost({ overhead: 0.02, elapsed: 100 })).toBe("recording took 2\u202fs of the run’s 1.7\u202fmin");
    expect(cost({ overhead: 0.004, elapsed: 600 })).toBe("recording took 0.4\u202f% of the run’s 10\u202fmin");
    expect(cost({ overhead: 0.02, elapsed: 36_000 })).toBe("recording took 2\u202f% of the run’s 10\u202fh");
  });
});
