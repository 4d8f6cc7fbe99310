import { expect, it } from "vitest";
import { causeTitle, causeWords, kindWords } from "./kinds";

it("names causes and kinds in words", () => {
  expect(causeWords("partial_last_batch")).toBe("partial last batch");
  expect(causeTitle("lr_increase")).toBe("LR increase");
  expect(causeTitle("repeated_order")).toBe("Repeated order");
  expect(kindWords("none")).toBe("within noise");
});
