// The colours, read from the style sheet that is shipped: contrast for everybody, differences for colour-blind eyes.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

type Rgb = [number, number, number];

const sheet = readFileSync(new URL("../src/views/colours.css", import.meta.url), "utf8");

function variables(selector: string): Map<string, Rgb> {
  const body = new RegExp(`${selector.replace(".", "\\.")} \\{([^}]*)\\}`).exec(sheet)?.[1] ?? "";
  const found = new Map<string, Rgb>();
  for (const [, name = "", hex = ""] of body.matchAll(/--([a-z]+): #([0-9a-f]{3,6});/g)) {
    const full = hex.length === 3 ? hex.replace(/./g, "$&$&") : hex;
    found.set(name, [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16) / 255) as Rgb);
  }
  return found;
}

const linear = (rgb: Rgb): Rgb => rgb.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)) as Rgb;

/** WCAG 2.1 relative luminance and contrast ratio. */
function contrast(a: Rgb, b: Rgb): number {
  const [light = 0, dark = 0] = [a, b].map((rgb) => linear(rgb).reduce((sum, value, index) => sum + value * ([0.2126, 0.7152, 0.0722][index] ?? 0), 0)).sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

/** Machado, Oliveira and Fernandes (2009), full deficiency, on linear light. */
const DEFICIENCIES: Record<string, number[][]> = {
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

function lab(light: Rgb): Rgb {
  const xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]].map((row) => row.reduce((sum, weight, index) => sum + weight * (light[index] ?? 0), 0));
  const [x = 0, y = 0, z = 0] = [0.9505, 1, 1.089].map((white, index) => {
    const share = (xyz[index] ?? 0) / white;
    return share > 0.008856 ? Math.cbrt(share) : 7.787 * share + 16 / 116;
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function difference(a: Rgb, b: Rgb, matrix: number[][]): number {
  const seen = [a, b].map((rgb) => lab(matrix.map((row) => Math.min(1, Math.max(0, row.reduce((sum, weight, index) => sum + weight * (linear(rgb)[index] ?? 0), 0)))) as Rgb));
  return Math.hypot(...[0, 1, 2].map((index) => (seen[0]?.[index] ?? 0) - (seen[1]?.[index] ?? 0)));
}

describe.each([":root", ":root.dark"])("the colours of %s", (selector) => {
  const colours = variables(selector);
  const get = (name: string): Rgb => {
    const found = colours.get(name);
    if (found === undefined) throw new Error(`no colour --${name}`);
    return found;
  };

  it.each(["ink", "mute"])("--%s can be read on every surface (AA)", (name) => {
    for (const surface of ["card", "page", "code", "lit", "hover"]) expect(contrast(get(name), get(surface)), surface).toBeGreaterThanOrEqual(4.5);
  });

  it.each(["fault", "benign", "artifact", "planned", "unknown", "mute"])("the chosen run can be read on its tint of --%s (AA)", (kind) => {
    const share = Number(/var\(--kind\) (\d+)%, var\(--card\)/.exec(readFileSync(new URL("../src/views/runs.css", import.meta.url), "utf8"))?.[1]) / 100;
    const tint = get("card").map((value, index) => value + share * ((get(kind)[index] ?? 0) - value)) as Rgb;
    for (const name of ["ink", "mute"]) expect(contrast(get(name), tint), name).toBeGreaterThanOrEqual(4.5);
  });

  it.each(["fault", "benign", "artifact", "planned", "unknown", "data"])("--%s is text that can be read on a card (AA), and a mark that can be seen anywhere", (name) => {
    expect(contrast(get(name), get("card"))).toBeGreaterThanOrEqual(4.5);
    for (const surface of ["page", "lit", "shade", "placebo"]) expect(contrast(get(name), get(surface)), surface).toBeGreaterThanOrEqual(3);
  });

  it.each(Object.entries(DEFICIENCIES))("fault and benign, data and validation stay apart under %s", (_, matrix) => {
    expect(difference(get("fault"), get("benign"), matrix)).toBeGreaterThan(20);
    expect(difference(get("data"), get("validation"), matrix)).toBeGreaterThan(20);
    expect(difference(get("data"), get("fault"), matrix)).toBeGreaterThan(20);
  });
});
