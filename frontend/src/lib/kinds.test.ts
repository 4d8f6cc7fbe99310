import { expect, it } from "vitest";
import { causeTitle, causeWords, kindWords, runKind } from "./kinds";

it("names causes and kinds in words", () => {
  expect(causeWords("partial_last_batch")).toBe("partial last batch");
  expect(causeTitle("lr_increase")).toBe("LR increase");
  expect(causeTitle("repeated_order")).toBe("Repeated order");
  expect(kindWords("none")).toBe("within noise");
});

it("has green for what was measured only", () => {
  expect(runKind({ kind: "benign", short: "nothing beyond noise" })).toBe("benign");
  expect(runKind({ kind: "benign", short: "too few boundaries to tell" })).toBe("open");
  expect(runKind({ kind: "benign", short: "no verdict" })).toBe("open");
  expect(runKind({ kind: "fault", short: "no verdict" })).toBe("fault");
  expect(kindWords("open")).toBe("cannot tell");
});
