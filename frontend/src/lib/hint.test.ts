import { expect, it } from "vitest";
import { readHint, TWO_LINES } from "./hint";

it("tells the sentence of a hint from its code", () => {
  expect(readHint("Start so:\na = 1\nb = 2")).toEqual({ sentence: "Start so:", code: "a = 1\nb = 2" });
  expect(readHint("Nothing here.")).toEqual({ sentence: "Nothing here.", code: TWO_LINES });
  expect(readHint("").code).toBe(TWO_LINES);
});
